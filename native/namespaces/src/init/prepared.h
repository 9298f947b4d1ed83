// Kernel file systems made before there is a root to put them on, while the shim still makes that root.
#pragma once

#include <array>

#include "cgroup/directory.h"
#include "init/steps.h"
#include "plan/plan.h"

namespace bulkhead::init {

class PreparedMounts {
 public:
  /** Detached mounts for the plan's first mounts but those of cgroups; what comes after is made when it is taken. */
  Status make(const plan::Container& container, Steps& steps);
  /** Those of cgroups, which show what the caller is in. */
  Status makeCgroups(const plan::Container& container, Steps& steps);
  /** The detached mount of a kind that needs nothing of the host, by its index in the plan. */
  Result<Fd> take(const plan::Container& container, uint32_t index);
  /** Puts the v1 hierarchies inside an attached cgroup mount; nothing to do on a host with cgroup v2 only. */
  Status fillCgroup(int area, const plan::Mount& mount, const plan::Container& container);

 private:
  // More than every default has; each is a descriptor that must fit below the limit a container may be given.
  static constexpr size_t kMax = 16;

  Status makeOne(const plan::Container& container, uint32_t index, Steps& steps);

  std::array<Fd, kMax> mounts_;
  std::array<Fd, cgroup::Placement::kMax> hierarchies_;
};

}  // namespace bulkhead::init
