// Block devices and device access of OCI resources.
#include <algorithm>

#include "plan/cgroup_writes.h"
#include "plan/device_rules.h"

namespace bulkhead::plan {

bool CgroupWrites::io(const View& part) {
  if (!context_->object(part)) return false;
  const View weightView = part.member("weight");
  int64_t weight = 0;
  if (!context_->integer(weightView, 0, 1000, &weight)) return false;
  if (weight != 0) {
    if (weight < 10) return context_->fail(weightView, "must be from 10 to 1000");
    if (unified_) {
      // io.bfq.weight takes the same scale; io.weight's 1 to 10000 is stretched
      // over 10 to 1000
      const int64_t stretched = 1 + (weight - 10) * 9999 / 990;
      add("io", "io.bfq.weight|io.weight", std::to_string(weight) + "|" + std::to_string(stretched));
    } else {
      add("blkio", "blkio.bfq.weight|blkio.weight", std::to_string(weight));
    }
  }
  if (part.member("leafWeight").present()) {
    context_->warn(part.member("leafWeight"), "is ignored, as current kernels do");
  }
  return weightDevices(part.member("weightDevice")) &&
         throttle(part, "throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps") &&
         throttle(part, "throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps") &&
         throttle(part, "throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops") &&
         throttle(part, "throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops");
}

bool CgroupWrites::throttle(const View& part, const char* name, const char* fileV1, const char* keyV2) {
  const View list = part.member(name);
  if (!context_->array(list)) return false;
  for (uint32_t index = 0; index < list.count(); ++index) {
    const View entry = list.element(index);
    uint32_t major = 0;
    uint32_t minor = 0;
    uint64_t rate = 0;
    if (!context_->unsigned32(entry.member("major"), &major) || !context_->unsigned32(entry.member("minor"), &minor) ||
        !context_->unsigned64(entry.member("rate"), &rate)) {
      return false;
    }
    const std::string device = std::to_string(major) + ":" + std::to_string(minor) + " ";
    if (unified_) {
      add("io", "io.max", device + keyV2 + "=" + (rate == 0 ? "max" : std::to_string(rate)));
    } else {
      add("blkio", fileV1, device + std::to_string(rate));
    }
  }
  return true;
}

bool CgroupWrites::weightDevices(const View& list) {
  if (!context_->array(list)) return false;
  for (uint32_t index = 0; index < list.count(); ++index) {
    const View entry = list.element(index);
    const View weightView = entry.member("weight");
    uint32_t major = 0;
    uint32_t minor = 0;
    int64_t weight = 0;
    if (!context_->unsigned32(entry.member("major"), &major) || !context_->unsigned32(entry.member("minor"), &minor) ||
        !context_->integer(weightView, 10, 1000, &weight)) {
      return false;
    }
    if (!weightView.present()) continue;
    const std::string value = std::to_string(major) + ":" + std::to_string(minor) + " " + std::to_string(weight);
    if (unified_) {
      add("io", "io.bfq.weight", value);
    } else {
      add("blkio", "blkio.bfq.weight_device|blkio.weight_device", value);
    }
  }
  return true;
}

bool CgroupWrites::devices(const View& part) {
  std::vector<DeviceRule> rules;
  if (!readDeviceRules(context_, part, &rules)) return false;
  if (unified_) {
    // One that allows all as well: it may take the place of another.
    if (!rules.empty()) deviceProgram_ = plan::deviceProgram(combine(rules));
    return true;
  }
  // What holds whatever was allowed before comes to less than it says, and every line is a write.
  const bool whole = std::any_of(rules.begin(), rules.end(), [](const DeviceRule& rule) { return rule.all; });
  if (whole) rules = deviceChanges({}, combine(rules));
  for (const DeviceRule& rule : rules) {
    add("devices", rule.allow ? "devices.allow" : "devices.deny", deviceRuleText(rule));
  }
  return true;
}

}  // namespace bulkhead::plan
