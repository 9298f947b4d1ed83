// What an instance uses and what the kernel holds it to, read from its cgroups.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cgroup/control.h"

namespace bulkhead::cgroup {

/** Time that work waited for something (PSI): some of it, and all of it at once. */
struct Stall {
  /** Percent of the last ten seconds, in hundredths. */
  uint64_t average10 = 0;
  uint64_t totalUs = 0;
};
struct Stalls {
  Stall some;
  Stall full;
};
/** From the unified tree, on hybrid hosts too. */
struct Pressure {
  Stalls cpu;
  Stalls memory;
  Stalls io;
};

struct Usage {
  uint64_t cpuUsageNs = 0;
  uint64_t throttledNs = 0;
  uint64_t throttledPeriods = 0;
  uint64_t memoryBytes = 0;
  uint64_t memoryPeakBytes = 0;
  std::optional<uint64_t> memoryLimitBytes;
  uint64_t pids = 0;
  uint64_t oomKills = 0;
  uint64_t ioReadBytes = 0;
  uint64_t ioWriteBytes = 0;
  uint64_t ioReadOps = 0;
  uint64_t ioWriteOps = 0;
  /** None where the kernel counts none (psi=0), or there is no unified tree. */
  std::optional<Pressure> pressure;
};
/** Files that are missing count as zero: a controller may be absent, an instance may have just ended. */
Usage readUsage(const Paths& paths);

struct Limits {
  std::optional<int64_t> cpuQuotaUs;
  int64_t cpuPeriodUs = 0;
  std::optional<uint64_t> cpuWeightOrShares;
  std::optional<uint64_t> memoryLimitBytes;
  std::optional<uint64_t> pidsMax;
  std::optional<std::string> cpusetCpus;
};
Limits readLimits(const Paths& paths);

}  // namespace bulkhead::cgroup
