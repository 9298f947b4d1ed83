#include "plan/cgroup_writes.h"

#include <cmath>

namespace bulkhead::plan {
namespace {

std::string bytesOrMax(int64_t value) {
  return value < 0 ? "max" : std::to_string(value);
}

}  // namespace

uint64_t weightForShares(uint64_t shares) {
  if (shares == 0) return 0;
  if (shares <= 2) return 1;
  if (shares >= 262144) return 10000;
  // opencontainers/cgroups ConvertCPUSharesToCgroupV2Value: a quadratic in log2
  // through (2,1), (1024,100), (2^18,10^4)
  const double l = std::log2(static_cast<double>(shares));
  return static_cast<uint64_t>(std::ceil(std::pow(10, (l * l + 125 * l) / 612.0 - 7.0 / 34.0)));
}

bool CgroupWrites::compile(const View& resources) {
  if (!resources.present()) return true;
  return cpuset(resources.member("cpu")) && memory(resources.member("memory")) && cpu(resources.member("cpu")) &&
         pids(resources.member("pids")) && io(resources.member("blockIO")) && devices(resources.member("devices")) &&
         hugepages(resources.member("hugepageLimits")) && network(resources.member("network")) &&
         rdma(resources.member("rdma")) && unifiedFiles(resources.member("unified"));
}

bool CgroupWrites::memory(const View& part) {
  if (!context_->object(part)) return false;
  const View limitView = part.member("limit");
  const View swapView = part.member("swap");
  const View reservationView = part.member("reservation");
  const View swappinessView = part.member("swappiness");
  int64_t limit = 0;
  int64_t swap = 0;
  int64_t reservation = 0;
  int64_t swappiness = 0;
  bool disableOomKiller = false;
  if (!context_->integer(limitView, -1, INT64_MAX, &limit) || !context_->integer(swapView, -1, INT64_MAX, &swap) ||
      !context_->integer(reservationView, -1, INT64_MAX, &reservation) ||
      !context_->integer(swappinessView, 0, 100, &swappiness) ||
      !context_->boolean(part.member("checkBeforeUpdate"), &checksBeforeUpdate_) ||
      !context_->boolean(part.member("disableOOMKiller"), &disableOomKiller)) {
    return false;
  }
  if (limit > 0 && swap > 0 && swap < limit) return context_->fail(swapView, "must not be below limit");
  for (const char* name : {"kernel", "kernelTCP", "useHierarchy"}) {
    if (part.member(name).present()) context_->warn(part.member(name), "is ignored, as current kernels do");
  }
  if (!unified_) {
    if (limit != 0) add("memory", "memory.limit_in_bytes", std::to_string(limit));
    if (swap != 0) add("memory", "memory.memsw.limit_in_bytes", std::to_string(swap));
    if (reservation != 0) add("memory", "memory.soft_limit_in_bytes", std::to_string(reservation));
    if (swappinessView.present()) add("memory", "memory.swappiness", std::to_string(swappiness));
    if (disableOomKiller) add("memory", "memory.oom_control", "1");
    return true;
  }
  if (disableOomKiller) return context_->fail(part, "disableOOMKiller does not exist in cgroup v2");
  if (swappinessView.present()) return context_->fail(swappinessView, "does not exist in cgroup v2");
  if (reservation != 0) add("memory", "memory.low", bytesOrMax(reservation));
  if (swap > 0 && limit <= 0) return context_->fail(swapView, "needs a memory limit");
  if (swap > 0) add("memory", swap == limit ? "?memory.swap.max" : "memory.swap.max", std::to_string(swap - limit));
  // A kernel without swap accounting has no such file, and no swap to limit.
  if (swap < 0 || (limit < 0 && !swapView.present())) add("memory", "?memory.swap.max", "max");
  if (limit != 0) add("memory", "memory.max", bytesOrMax(limit));
  return true;
}

bool CgroupWrites::cpu(const View& part) {
  int64_t shares = 0;
  int64_t quota = 0;
  int64_t period = 0;
  int64_t burst = 0;
  int64_t idle = 0;
  const View idleView = part.member("idle");
  if (!context_->integer(part.member("shares"), 0, 262144, &shares) ||
      !context_->integer(part.member("quota"), -1, INT64_MAX / 1000, &quota) ||
      !context_->integer(part.member("period"), 0, 1'000'000, &period) ||
      !context_->integer(part.member("burst"), 0, INT64_MAX / 1000, &burst) ||
      !context_->integer(idleView, 0, 1, &idle)) {
    return false;
  }
  const View realtimeRuntime = part.member("realtimeRuntime");
  const View realtimePeriod = part.member("realtimePeriod");
  if (!unified_) {
    if (idleView.present()) add("cpu", "cpu.idle", std::to_string(idle));
    if (shares != 0) add("cpu", "cpu.shares", std::to_string(shares));
    // The kernel checks the ratio after each write; from "no quota" the period
    // may be set freely.
    if (period != 0) add("cpu", "cpu.cfs_period_us", std::to_string(period));
    if (quota != 0) add("cpu", "cpu.cfs_quota_us", std::to_string(quota));
    if (burst != 0) add("cpu", "cpu.cfs_burst_us", std::to_string(burst));
    int64_t value = 0;
    if (!context_->integer(realtimePeriod, 0, INT64_MAX / 1000, &value)) return false;
    if (value != 0) add("cpu", "cpu.rt_period_us", std::to_string(value));
    value = 0;
    if (!context_->integer(realtimeRuntime, 0, INT64_MAX / 1000, &value)) return false;
    if (value != 0) add("cpu", "cpu.rt_runtime_us", std::to_string(value));
    return true;
  }
  if (realtimePeriod.present() || realtimeRuntime.present()) {
    return context_->fail(part, "has real-time limits, which do not exist in cgroup v2");
  }
  if (idleView.present()) add("cpu", "cpu.idle", std::to_string(idle));
  if (shares != 0) add("cpu", "cpu.weight", std::to_string(weightForShares(static_cast<uint64_t>(shares))));
  if (quota != 0 || period != 0) {
    std::string value = quota > 0 ? std::to_string(quota) : quota < 0 ? "max" : "$";
    if (period != 0) value += " " + std::to_string(period);
    add("cpu", "cpu.max", value);
  }
  if (burst != 0) add("cpu", "cpu.max.burst", std::to_string(burst));
  return true;
}

bool CgroupWrites::cpuset(const View& part) {
  if (!context_->object(part)) return false;
  Str cpus;
  Str mems;
  if (!context_->text(part.member("cpus"), &cpus) || !context_->text(part.member("mems"), &mems)) return false;
  if (!cpus.empty()) add("cpuset", "cpuset.cpus", std::string(cpus.view()));
  if (!mems.empty()) add("cpuset", "cpuset.mems", std::string(mems.view()));
  return true;
}

bool CgroupWrites::pids(const View& part) {
  if (!context_->object(part)) return false;
  const View limitView = part.member("limit");
  if (!limitView.present()) return true;
  int64_t limit = 0;
  if (!context_->integer(limitView, -1, INT64_MAX, &limit)) return false;
  // With 0 not even the first process could be cloned into its cgroup.
  add("pids", "pids.max", bytesOrMax(limit == 0 ? 1 : limit));
  return true;
}

bool CgroupWrites::hugepages(const View& part) {
  if (!context_->array(part)) return false;
  for (uint32_t index = 0; index < part.count(); ++index) {
    const View entry = part.element(index);
    const View sizeView = entry.member("pageSize");
    Str size;
    uint64_t limit = 0;
    if (!context_->requiredText(sizeView, &size) || !context_->unsigned64(entry.member("limit"), &limit)) return false;
    // "2MB", "1GB": digits and a unit, as the kernel names its files
    const std::string_view text = size.view();
    if (text.size() > 8 || text.find_first_not_of("0123456789KMGB") != std::string_view::npos) {
      return context_->fail(sizeView, "is no page size");
    }
    const char* suffix = unified_ ? "max" : "limit_in_bytes";
    const std::string prefix = "hugetlb." + std::string(text) + ".";
    add("hugetlb", prefix + suffix, std::to_string(limit));
    // Reservations are counted apart since Linux 5.7; without a limit on them a
    // fault beyond `limit` is SIGBUS.
    add("hugetlb", "?" + prefix + "rsvd." + suffix, std::to_string(limit));
  }
  return true;
}

bool CgroupWrites::network(const View& part) {
  if (!context_->object(part)) return false;
  const View classView = part.member("classID");
  const View list = part.member("priorities");
  uint32_t classId = 0;
  if (!context_->unsigned32(classView, &classId) || !context_->array(list)) return false;
  if (unified_ && (classId != 0 || list.count() > 0)) {
    return context_->fail(part, "does not exist in cgroup v2");
  }
  if (classId != 0) add("net_cls", "net_cls.classid", std::to_string(classId));
  for (uint32_t index = 0; index < list.count(); ++index) {
    const View entry = list.element(index);
    const View nameView = entry.member("name");
    Str name;
    uint32_t priority = 0;
    if (!context_->requiredText(nameView, &name) || !context_->unsigned32(entry.member("priority"), &priority)) {
      return false;
    }
    // IFNAMSIZ, and the file takes one line of two words
    if (name.size > 15 || name.view().find_first_of(" \n") != std::string_view::npos) {
      return context_->fail(nameView, "is no interface name");
    }
    add("net_prio", "net_prio.ifpriomap", std::string(name.view()) + " " + std::to_string(priority));
  }
  return true;
}

bool CgroupWrites::rdma(const View& part) {
  if (!context_->object(part)) return false;
  const Members members(part);
  for (uint32_t index = 0; index < members.count(); ++index) {
    const View entry = members.view(index);
    const std::string device(members.name(index));
    if (device.empty() || device.size() > 63 || device.find_first_of(" \n") != std::string::npos) {
      return context_->fail(entry, "is no device name");
    }
    std::string value = device;
    for (const auto& [member, key] : {std::pair{"hcaHandles", "hca_handle"}, std::pair{"hcaObjects", "hca_object"}}) {
      const View view = entry.member(member);
      uint32_t count = 0;
      if (!context_->unsigned32(view, &count)) return false;
      if (view.present()) value += std::string(" ") + key + "=" + std::to_string(count);
    }
    if (value == device) return context_->fail(entry, "limits nothing");
    add("rdma", "rdma.max", value);
  }
  return true;
}

bool CgroupWrites::unifiedFiles(const View& part) {
  if (!context_->object(part)) return false;
  const Members members(part);
  if (members.count() > 0 && !unified_) return context_->fail(part, "needs a host with cgroup v2 only");
  for (uint32_t index = 0; index < members.count(); ++index) {
    const View entry = members.view(index);
    const std::string name(members.name(index));
    if (name.find('/') != std::string::npos || name.find('.') == std::string::npos || name.starts_with("cgroup.")) {
      return context_->fail(entry, "is no file of a cgroup controller");
    }
    Str value;
    if (!context_->requiredText(entry, &value)) return false;
    add("unified", name, std::string(value.view()));
  }
  return true;
}

}  // namespace bulkhead::plan
