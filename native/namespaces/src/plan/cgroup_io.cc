// Block devices and device access of OCI resources.
#include "plan/cgroup_writes.h"

namespace bulkhead::plan {

bool CgroupWrites::io(const View& part) {
  if (!context_->object(part)) return false;
  const View weightView = part.member("weight");
  int64_t weight = 0;
  if (!context_->integer(weightView, 0, 1000, &weight)) return false;
  if (weight != 0) {
    if (weight < 10) return context_->fail(weightView, "must be from 10 to 1000");
    if (unified_) {
      // io.bfq.weight takes the same scale; io.weight's 1 to 10000 is stretched over 10 to 1000
      add("io", "io.bfq.weight", std::to_string(weight));
      entries_.back().file = "io.bfq.weight|io.weight";
    } else {
      add("blkio", "blkio.bfq.weight|blkio.weight", std::to_string(weight));
    }
  }
  return throttle(part, "throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps") &&
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

bool CgroupWrites::devices(const View& part) {
  if (!context_->array(part)) return false;
  if (unified_ && part.count() > 0) {
    context_->warn(part, "device rules are enforced by /dev and nodev alone on cgroup v2");
    return true;
  }
  for (uint32_t index = 0; index < part.count(); ++index) {
    const View entry = part.element(index);
    const View typeView = entry.member("type");
    const View accessView = entry.member("access");
    bool allow = false;
    Str type;
    Str access;
    int64_t major = -1;
    int64_t minor = -1;
    if (!context_->boolean(entry.member("allow"), &allow) || !context_->text(typeView, &type) ||
        !context_->text(accessView, &access) || !context_->integer(entry.member("major"), -1, UINT32_MAX, &major) ||
        !context_->integer(entry.member("minor"), -1, UINT32_MAX, &minor)) {
      return false;
    }
    const std::string_view letter = type.empty() ? "a" : type.view();
    if (letter != "a" && letter != "b" && letter != "c") return context_->fail(typeView, "must be a, b or c");
    if (access.view().find_first_not_of("rwm") != std::string_view::npos) {
      return context_->fail(accessView, "must be made of r, w and m");
    }
    const auto number = [](int64_t value) { return value < 0 ? std::string("*") : std::to_string(value); };
    const std::string value = letter == "a" ? "a"
                                            : std::string(letter) + " " + number(major) + ":" + number(minor) + " " +
                                                  (access.empty() ? "rwm" : std::string(access.view()));
    add("devices", allow ? "devices.allow" : "devices.deny", value);
  }
  // The standard /dev and the making of nodes come on top of any list, as in every runtime that engines know.
  if (part.count() == 0) return true;
  for (const char* rule : {"c *:* m", "b *:* m", "c 1:3 rwm", "c 1:5 rwm", "c 1:7 rwm", "c 1:8 rwm", "c 1:9 rwm",
                           "c 5:0 rwm", "c 5:1 rwm", "c 5:2 rwm", "c 136:* rwm"}) {
    add("devices", "devices.allow", rule);
  }
  return true;
}

}  // namespace bulkhead::plan
