// Mounts that the child puts on descriptors below its new root.
#pragma once

#include "init/prepared.h"
#include "init/steps.h"
#include "plan/plan.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::init {

/** Mount descriptors that the shim made, in the order it sends them: the root, then what it makes, as planned. */
class Handed {
 public:
  explicit Handed(int socket) : socket_(socket) {}
  Result<Fd> next();
  /** What came along with the last one. */
  Result<Fd> further() { return taken_ < count_ ? next() : Result<Fd>(Fd()); }
  /** The shim's last message: its status file is written. */
  Status awaitStatus();

 private:
  int socket_;
  int fds_[sys::kMaxPassed];
  size_t count_ = 0;
  size_t taken_ = 0;
};

/** It needs the host's privileges or the host's tree; the others the child makes, in its namespaces. */
bool isMadeByShim(const plan::Mount& mount);
/** Everything of the plan in its place below `root`. `cover`: what masked directories are covered with, if there is
 * one. */
Status mountAll(const plan::Container& container, Steps& steps, int root, PreparedMounts* prepared, Handed* handed,
                Fd* cover);

}  // namespace bulkhead::init
