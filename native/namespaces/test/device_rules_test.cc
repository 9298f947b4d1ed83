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
  EXPECT(run(plan::deviceProgram(plan::combine({{true, true}})), {plan::kDeviceBlock, 8, 0, plan::kDeviceWrite}));
}

TEST(aDeviceListIsReadAndTurnedIntoAnotherByItsDifference) {
  plan::DeviceAccess now;
  EXPECT(plan::parseDeviceList("a *:* rwm\n", &now) && now.allowedByDefault);
  EXPECT(!plan::parseDeviceList("nonsense", &now));
  EXPECT(plan::parseDeviceList("c 1:3 rwm\nb *:* m\nc 136:* rw\n", &now));
  EXPECT(!now.allowedByDefault && now.exceptions.size() == 3);
  std::mt19937 random(2);
  for (int round = 0; round < 500; ++round) {
    const auto list = [&] {
      std::vector<DeviceRule> rules = {{random() % 4 == 0, true}};
      for (size_t count = random() % 6; count > 0; --count) {
        rules.push_back({random() % 2 == 0, false, 1 + static_cast<uint32_t>(random() % 2),
                         static_cast<int64_t>(random() % 4) - 1, static_cast<int64_t>(random() % 4) - 1,
                         1 + static_cast<uint32_t>(random() % 7)});
      }
      return rules;
    };
    std::vector<DeviceRule> rules = list();
    const plan::DeviceAccess from = plan::combine(rules);
    const plan::DeviceAccess to = plan::combine(list());
    for (const DeviceRule& change : plan::deviceChanges(from, to)) rules.push_back(change);
    const plan::DeviceAccess reached = plan::combine(rules);
    for (uint32_t device = 0; device < 2 * 4 * 4 * 8; ++device) {
      const Asked asked = {1 + device % 2, device / 2 % 4, device / 8 % 4, device / 32};
      if (asked.access != 0) EXPECT_THAT(granted(reached, asked) == granted(to, asked), std::to_string(round));
    }
  }
}

}  // namespace
}  // namespace bulkhead
