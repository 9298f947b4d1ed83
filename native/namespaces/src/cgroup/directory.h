// Cgroup directories of one instance: made, limited, joined, and removed again when the start fails.
#pragma once

#include <array>

#include "plan/plan.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::cgroup {

/** One write of a plan below an open cgroup directory; understands "a|b" files and the "$" value. */
Status applyWrite(int directory, const plan::CgroupWrite& write);

/** Hands every controller of a v2 directory down, as far as the kernel lets it. */
void enableControllers(int directory);

/** Makes the directory and, where missing, its parents; copies cpus and mems down and enables v2 controllers. */
Result<Fd> makeDirectory(const plan::CgroupDirectory& directory);

/** The directories of a plan. */
class Placement {
 public:
  static constexpr size_t kMax = 32;

  /** Directories that this object made are removed with it, unless `keep` was called. */
  ~Placement() { remove(); }
  /** Removes them now; it is as new. */
  void remove();

  /**
   * Which directories: a process is charged from its birth in the first, and may join the others a little later. Or
   * all at once, for a process that nobody waits for; those of a stage that came before stay as they are.
   */
  enum class Stage { birth, later, ahead };
  Status make(const Span<plan::CgroupDirectory>& directories, Stage stage);
  /** Opens directories that exist already. */
  Status open(const Span<plan::CgroupDirectory>& directories);
  Status applyLimits(const Span<plan::CgroupDirectory>& directories);
  /**
   * Moves the caller (one thread) into every v1 directory that is not of the later stage; the unified one is entered by
   * CLONE_INTO_CGROUP. A thread that moves itself by "tasks" takes no lock. From outside, or by cgroup.procs, each move
   * waits for a grace period of cgroup_threadgroup_rwsem: milliseconds.
   */
  Status joinSelf() const;
  /** The file of every v1 directory to be joined later that takes a thread which joins by writing "0"; their number. */
  Result<size_t> openLater(std::array<Fd, kMax>* files) const;
  int unified() const { return unified_; }
  int memory() const { return memory_; }
  bool memoryIsUnified() const { return memory_ >= 0 && memory_ == unified_; }
  void keep() { made_ = {}; }

 private:
  void place(size_t index, const plan::CgroupDirectory& directory, Fd fd);

  /** By index in the plan; those of the later stage are not there before it. */
  std::array<Fd, kMax> fds_;
  std::array<const char*, kMax> paths_ = {};
  std::array<bool, kMax> made_ = {};
  std::array<bool, kMax> later_ = {};
  int unified_ = -1;
  int memory_ = -1;
};

}  // namespace bulkhead::cgroup
