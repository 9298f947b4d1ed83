#include "cgroup/usage.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "cgroup/stat_text.h"
#include "sys/file.h"

namespace bulkhead::cgroup {
namespace {

// Above this a v1 limit means "none": PAGE_COUNTER_MAX pages, which depends on the page size.
constexpr uint64_t kNoLimit = uint64_t{1} << 62;

/** The text of one file below a controller's directory; empty when anything is missing. */
class Files {
 public:
  Files(const Paths& paths, std::string_view controller) : directory_(paths.find(controller)) {}

  std::string text(const char* file) const {
    if (directory_ == nullptr) return {};
    char buffer[16384];
    Result<size_t> size = sys::readFile(AT_FDCWD, (*directory_ + "/" + file).c_str(), buffer, sizeof buffer);
    if (!size.ok()) return {};
    std::string value(buffer, size.value());
    while (!value.empty() && value.back() == '\n') value.pop_back();
    return value;
  }
  std::optional<uint64_t> number(const char* file) const {
    uint64_t value = 0;
    if (!sys::parseUnsigned(text(file), UINT64_MAX, &value)) return std::nullopt;
    return value;
  }

 private:
  const std::string* directory_;
};

std::optional<uint64_t> limitOf(std::optional<uint64_t> value) {
  return value.has_value() && *value < kNoLimit ? value : std::nullopt;
}

/** "some avg10=1.23 avg60=… avg300=… total=456" and the same for "full" (Documentation/accounting/psi.rst). */
Stall stallOf(const std::string& text, const char* kind) {
  Stall stall;
  const size_t line = text.find(kind);
  if (line == std::string::npos) return stall;
  unsigned long long whole = 0;
  unsigned hundredths = 0;
  unsigned long long total = 0;
  if (sscanf(text.c_str() + line + strlen(kind), " avg10=%llu.%2u avg60=%*s avg300=%*s total=%llu", &whole, &hundredths,
             &total) == 3) {
    stall = {whole * 100 + hundredths, total};
  }
  return stall;
}

std::optional<Pressure> readPressure(const Paths& paths) {
  const Files files(paths, "unified");
  Pressure pressure;
  struct Source {
    const char* file;
    Stalls* stalls;
  };
  bool found = false;
  for (const Source& source : {Source{"cpu.pressure", &pressure.cpu}, Source{"memory.pressure", &pressure.memory},
                               Source{"io.pressure", &pressure.io}}) {
    const std::string text = files.text(source.file);
    found = found || !text.empty();
    *source.stalls = {stallOf(text, "some"), stallOf(text, "full")};
  }
  return found ? std::optional<Pressure>(pressure) : std::nullopt;
}

Usage readV2(const Paths& paths) {
  const Files files(paths, "unified");
  Usage usage;
  const std::string cpu = files.text("cpu.stat");
  usage.cpuUsageNs = keyed(cpu, "usage_usec") * 1000;
  usage.throttledNs = keyed(cpu, "throttled_usec") * 1000;
  usage.throttledPeriods = keyed(cpu, "nr_throttled");
  usage.memoryBytes = files.number("memory.current").value_or(0);
  usage.memoryPeakBytes = files.number("memory.peak").value_or(0);
  usage.memoryLimitBytes = files.number("memory.max");
  usage.pids = files.number("pids.current").value_or(0);
  usage.oomKills = keyed(files.text("memory.events"), "oom_kill");
  const std::string io = files.text("io.stat");
  usage.ioReadBytes = summedWord(io, "rbytes");
  usage.ioWriteBytes = summedWord(io, "wbytes");
  usage.ioReadOps = summedWord(io, "rios");
  usage.ioWriteOps = summedWord(io, "wios");
  usage.pressure = readPressure(paths);
  return usage;
}

}  // namespace

Usage readUsage(const Paths& paths) {
  if (paths.isV2()) return readV2(paths);
  Usage usage;
  usage.cpuUsageNs = Files(paths, "cpuacct").number("cpuacct.usage").value_or(0);
  const std::string cpu = Files(paths, "cpu").text("cpu.stat");
  usage.throttledNs = keyed(cpu, "throttled_time");
  usage.throttledPeriods = keyed(cpu, "nr_throttled");
  const Files memory(paths, "memory");
  usage.memoryBytes = memory.number("memory.usage_in_bytes").value_or(0);
  usage.memoryPeakBytes = memory.number("memory.max_usage_in_bytes").value_or(0);
  usage.memoryLimitBytes = limitOf(memory.number("memory.limit_in_bytes"));
  usage.oomKills = keyed(memory.text("memory.oom_control"), "oom_kill");
  usage.pids = Files(paths, "pids").number("pids.current").value_or(0);
  const Files io(paths, "blkio");
  const std::string bytes = io.text("blkio.throttle.io_service_bytes_recursive");
  usage.ioReadBytes = summed(bytes, "Read");
  usage.ioWriteBytes = summed(bytes, "Write");
  const std::string operations = io.text("blkio.throttle.io_serviced_recursive");
  usage.ioReadOps = summed(operations, "Read");
  usage.ioWriteOps = summed(operations, "Write");
  usage.pressure = readPressure(paths);
  return usage;
}

Limits readLimits(const Paths& paths) {
  Limits limits;
  const Files cpu(paths, "cpu");
  const Files memory(paths, "memory");
  if (paths.isV2()) {
    const std::string max = cpu.text("cpu.max");
    const size_t space = max.find(' ');
    if (space != std::string::npos) {
      limits.cpuPeriodUs = strtoll(max.c_str() + space + 1, nullptr, 10);
      if (!max.starts_with("max")) limits.cpuQuotaUs = strtoll(max.c_str(), nullptr, 10);
    }
    limits.cpuWeightOrShares = cpu.number("cpu.weight");
    limits.memoryLimitBytes = memory.number("memory.max");
  } else {
    const std::string quota = cpu.text("cpu.cfs_quota_us");
    if (!quota.empty() && quota[0] != '-') limits.cpuQuotaUs = strtoll(quota.c_str(), nullptr, 10);
    limits.cpuPeriodUs = static_cast<int64_t>(cpu.number("cpu.cfs_period_us").value_or(0));
    limits.cpuWeightOrShares = cpu.number("cpu.shares");
    limits.memoryLimitBytes = limitOf(memory.number("memory.limit_in_bytes"));
  }
  limits.pidsMax = Files(paths, "pids").number("pids.max");
  const Files cpuset(paths, "cpuset");
  const std::string cpus = cpuset.text(paths.isV2() ? "cpuset.cpus.effective" : "cpuset.cpus");
  if (!cpus.empty()) limits.cpusetCpus = cpus;
  return limits;
}

}  // namespace bulkhead::cgroup
