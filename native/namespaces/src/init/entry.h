// bulkhead-init as a function: makes one container (or one process in it) from a plan, and stays as its shim.
#pragma once

#include <array>
#include <string_view>
#include <utility>

#include "plan/plan.h"
#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::init {

/** A plan's bytes, as long as this lives; none when the file is no plan or its sender could still change it. */
class MappedPlan {
 public:
  MappedPlan() = default;
  explicit MappedPlan(int file);
  MappedPlan(MappedPlan&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  MappedPlan& operator=(MappedPlan&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~MappedPlan();
  std::string_view bytes() const { return bytes_; }

 private:
  std::string_view bytes_;
};

/** Descriptors that came with a plan, at kPreservedFd and above, where a process born from now on finds them. */
class HandedFds {
 public:
  /** Takes them over, whatever comes of it. The numbers must be free: nothing may have been opened yet. */
  Status take(const int* fds, size_t count);
  size_t count() const { return count_; }

 private:
  std::array<Fd, plan::kMaxHandedFds> fds_;
  size_t count_ = 0;
};

/** The file of the plan that the next message brings, with what is for its program; invalid at end of file. */
Fd receivePlan(int socket, HandedFds* handed = nullptr);

/**
 * `argv`: "serve" (server.h), "hold" (inside a container, for namespaces that others share), or "container" or "exec"
 * for one of them at once, then "exact" when the caller left no other descriptor open, or "based" for a container that
 * is born as the fork server's are (base.h). The exit status.
 */
int runInit(int argc, char** argv);

}  // namespace bulkhead::init
