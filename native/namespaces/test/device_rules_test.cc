#include "plan/device_rules.h"

#include <random>

#include "runner.h"

namespace bulkhead {
namespace {

using plan::DeviceRule;

struct Asked {
  uint32_t type;
  uint32_t major;
  uint32_t minor;
  uint32_t access;
};

/** v1's controller, rule after rule (security/device_cgroup.c): what is asked for against a list of exceptions. */
bool granted(const plan::DeviceAccess& access, const Asked& asked) {
  for (const DeviceRule& rule : access.exceptions) {
    if (rule.type != asked.type || (rule.major >= 0 && rule.major != asked.major) ||
        (rule.minor >= 0 && rule.minor != asked.minor)) {
      continue;
    }
    const uint32_t common = rule.access & asked.access;
    if (access.allowedByDefault ? common != 0 : common == asked.access) return !access.allowedByDefault;
  }
  return access.allowedByDefault;
}

/** The kernel's side: runs the few instructions that the program may have. */
bool run(const std::vector<uint64_t>& program, const Asked& asked) {
  if (program.empty()) return true;
  const uint32_t context[3] = {asked.access << 16 | asked.type, asked.major, asked.minor};
  uint32_t registers[6] = {};
  for (size_t at = 0; at < program.size(); ++at) {
    const uint64_t step = program[at];
    const auto offset = static_cast<int16_t>(step >> 16 & 0xffff);
    const auto immediate = static_cast<uint32_t>(step >> 32);
    uint32_t& to = registers[step >> 8 & 0xf];
    const uint32_t from = registers[step >> 12 & 0xf];
    switch (step & 0xff) {
      case 0x61:
        to = context[offset / 4];
        break;
      case 0xbc:
        to = from;
        break;
      case 0xb4:
        to = immediate;
        break;
      case 0x54:
        to &= immediate;
        break;
      case 0x74:
        to >>= immediate;
        break;
      case 0x5e:
        if (to != from) at += static_cast<size_t>(offset);
        break;
      case 0x56:
        if (to != immediate) at += static_cast<size_t>(offset);
        break;
      case 0x16:
        if (to == immediate) at += static_cast<size_t>(offset);
        break;
      case 0x95:
        return registers[0] != 0;
      default:
        EXPECT(!"a known instruction");
        return false;
    }
  }
  EXPECT(!"an exit before the end");
  return false;
}

TEST(deviceProgramsGrantWhatTheRulesGrant) {
  std::mt19937 engine(7);
  for (int round = 0; round < 500; ++round) {
    std::vector<DeviceRule> rules;
    for (size_t count = engine() % 8; count > 0; --count) {
      DeviceRule rule;
      rule.allow = engine() % 2 == 0;
      rule.all = engine() % 6 == 0;
      rule.type = 1 + engine() % 2;
      rule.major = static_cast<int64_t>(engine() % 4) - 1;
      rule.minor = static_cast<int64_t>(engine() % 4) - 1;
      rule.access = 1 + engine() % 7;
      rules.push_back(rule);
    }
    const plan::DeviceAccess access = plan::combine(rules);
    const std::vector<uint64_t> program = plan::deviceProgram(access);
    for (uint32_t type = 1; type <= 2; ++type) {
      for (uint32_t major = 0; major < 4; ++major) {
        for (uint32_t minor = 0; minor < 4; ++minor) {
          for (uint32_t wanted = 1; wanted < 8; ++wanted) {
            const Asked asked = {type, major, minor, wanted};
            EXPECT_THAT(run(program, asked) == granted(access, asked), "round " + std::to_string(round));
          }
        }
      }
    }
  }
}

TEST(laterDeviceRulesChangeEarlierOnes) {
  const DeviceRule none = {false, true};
  const DeviceRule readWrite = {true, false, plan::kDeviceChar, 10, 200, plan::kDeviceRead | plan::kDeviceWrite};
  const DeviceRule noWrite = {false, false, plan::kDeviceChar, 10, 200, plan::kDeviceWrite};
  const plan::DeviceAccess access = plan::combine({none, readWrite, noWrite});
  EXPECT(!access.allowedByDefault && access.exceptions.size() == 1);
  EXPECT(granted(access, {plan::kDeviceChar, 10, 200, plan::kDeviceRead}));
  EXPECT(!granted(access, {plan::kDeviceChar, 10, 200, plan::kDeviceWrite}));
  EXPECT(plan::deviceProgram(plan::combine({{true, true}})).empty());
}

}  // namespace
}  // namespace bulkhead
