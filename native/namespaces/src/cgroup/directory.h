// Cgroup directories of one instance: made, limited, joined, and removed again when the start fails.
#pragma once

#include <array>

#include "plan/plan.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::cgroup {

/** One write of a plan below an open cgroup directory; understands "a|b" files and the "$" value. */
Status applyWrite(int directory, const plan::CgroupWrite& write);

/** Makes the directory and, where missing, its parents; copies cpus and mems down and enables v2 controllers. */
Result<Fd> makeDirectory(const plan::CgroupDirectory& directory);

/** The directories of a plan. */
class Placement {
 public:
  /** Directories that this object made are removed with it, unless `keep` was called. */
  ~Placement();

  Status make(const Span<plan::CgroupDirectory>& directories);
  /** Opens directories that exist already. */
  Status open(const Span<plan::CgroupDirectory>& directories);
  Status applyLimits(const Span<plan::CgroupDirectory>& directories);
  /**
   * Moves the caller (one thread) into every v1 directory; the unified one is entered by CLONE_INTO_CGROUP.
   * A thread that moves itself by "tasks" takes no lock. From outside, or by cgroup.procs, each move waits for a
   * grace period of cgroup_threadgroup_rwsem: milliseconds.
   */
  Status joinSelf() const;
  int unified() const { return unified_; }
  int memory() const { return memory_; }
  bool memoryIsUnified() const { return memory_ >= 0 && memory_ == unified_; }
  void keep() { made_ = 0; }

 private:
  static constexpr size_t kMax = 32;
  std::array<Fd, kMax> fds_;
  std::array<const char*, kMax> paths_ = {};
  size_t count_ = 0;
  size_t made_ = 0;
  int unified_ = -1;
  int memory_ = -1;
};

}  // namespace bulkhead::cgroup
