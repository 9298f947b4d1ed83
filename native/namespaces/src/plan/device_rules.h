// Device access of a cgroup: the list of rules, what it comes to, and cgroup v2's program for it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "plan/context.h"

namespace bulkhead::plan {

// include/uapi/linux/bpf.h: BPF_DEVCG_DEV_*, BPF_DEVCG_ACC_*
inline constexpr uint32_t kDeviceBlock = 1;
inline constexpr uint32_t kDeviceChar = 2;
inline constexpr uint32_t kDeviceMknod = 1;
inline constexpr uint32_t kDeviceRead = 2;
inline constexpr uint32_t kDeviceWrite = 4;

struct DeviceRule {
  bool allow = false;
  /** Every device: type, numbers and access mean nothing. */
  bool all = false;
  uint32_t type = kDeviceChar;
  int64_t major = -1;  // -1: any
  int64_t minor = -1;
  uint32_t access = kDeviceMknod | kDeviceRead | kDeviceWrite;
};

/** The rules of `resources.devices`, and those that every container gets: null, zero, terminals, mknod. */
bool readDeviceRules(Context* context, const View& list, std::vector<DeviceRule>* rules);
/** A rule as v1's devices.allow and devices.deny take it. */
std::string deviceRuleText(const DeviceRule& rule);

/** What rules written one after the other to v1's controller come to. */
struct DeviceAccess {
  bool allowedByDefault = true;
  /** Devices that are treated the other way; each type and number once. */
  std::vector<DeviceRule> exceptions;
};
DeviceAccess combine(const std::vector<DeviceRule>& rules);

/** The same as a BPF_PROG_TYPE_CGROUP_DEVICE program, one number per instruction; empty when all is allowed. */
std::vector<uint64_t> deviceProgram(const DeviceAccess& access);

}  // namespace bulkhead::plan
