// Device access of a cgroup: the list of rules, what it comes to, and cgroup v2's program for it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
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

/** Reads v1's devices.list. What is listed of an "a" is all there is: the kernel hides exceptions from "all allowed".
 */
bool parseDeviceList(std::string_view text, DeviceAccess* access);
/** Rules that turn `from` into `to` in v1's controller; while both deny by default, what both allow is never refused.
 */
std::vector<DeviceRule> deviceChanges(const DeviceAccess& from, const DeviceAccess& to);

/** The same as a BPF_PROG_TYPE_CGROUP_DEVICE program, one number per instruction; also when it allows all. */
std::vector<uint64_t> deviceProgram(const DeviceAccess& access);

}  // namespace bulkhead::plan
