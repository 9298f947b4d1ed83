// Kernel file systems made before there is a root to put them on, while the shim still makes that root.
#pragma once

#include <array>

#include "init/steps.h"
#include "plan/plan.h"
#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::init {

class PreparedMounts {
 public:
  /** Detached mounts for the plan's first mounts; what comes after is made when it is taken. */
  Status make(const plan::Container& container, Steps& steps);
  /** The detached mount of a kind that needs nothing of the host, by its index in the plan. */
  Result<Fd> take(const plan::Container& container, uint32_t index);

 private:
  // More than every default has; each is a descriptor that must fit below the limit a container may be given.
  static constexpr size_t kMax = 16;

  Status makeOne(const plan::Container& container, uint32_t index, Steps& steps);

  std::array<Fd, kMax> mounts_;
};

}  // namespace bulkhead::init
