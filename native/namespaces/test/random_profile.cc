#include "random_profile.h"

#include <linux/audit.h>

#include <algorithm>
#include <iterator>
#include <random>

namespace bulkhead::test {
namespace {

using seccomp::Compare;

constexpr uint32_t kActions[] = {SECCOMP_RET_ALLOW, SECCOMP_RET_KILL_THREAD, SECCOMP_RET_KILL_PROCESS, SECCOMP_RET_TRAP,
                                 SECCOMP_RET_LOG,   SECCOMP_RET_ERRNO | 1,   SECCOMP_RET_ERRNO | 13};
constexpr uint64_t kValues[] = {0,
                                1,
                                2,
                                3,
                                8,
                                255,
                                0x7fffffff,
                                0x80000000,
                                0xfffffffe,
                                0xffffffff,
                                0x100000000,
                                0x100000001,
                                0x1ffffffff,
                                0xff00000000,
                                0xffffffff00000000,
                                0xfffffffffffffffe,
                                0xffffffffffffffff};
constexpr uint64_t kMasks[] = {0xff, 0xfffffff0, 0x7e020000, 0xffffffff, 0xff000000ff, 0xffffffffffffffff, 0x80000000};
constexpr uint32_t kNumbers[] = {0, 1, 2, 3, 9, 10, 41, 56, 57, 101, 135, 202, 231, 257, 300, 334, 435, 450};

template <class Range, class Engine>
auto any(const Range& range, Engine& engine) {
  return range[std::uniform_int_distribution<size_t>(0, std::size(range) - 1)(engine)];
}

template <class Engine>
seccomp::Condition randomCondition(uint32_t argument, Engine& engine) {
  seccomp::Condition condition;
  condition.argument = argument;
  condition.compare = static_cast<Compare>(engine() % 7);
  condition.value = condition.compare == Compare::maskedEqual ? any(kMasks, engine) : any(kValues, engine);
  if (condition.compare == Compare::maskedEqual) condition.valueTwo = any(kValues, engine) & condition.value;
  return condition;
}

}  // namespace

seccomp::Profile randomProfile(uint32_t seed, RandomProfile options) {
  std::mt19937 engine(seed);
  seccomp::Profile profile;
  profile.defaultAction = any(kActions, engine);
  profile.archs.push_back({seccomp::Arch::x86_64, {}});
  if (options.withI386 && engine() % 2 == 0) profile.archs.push_back({seccomp::Arch::i386, {}});
  for (auto& arch : profile.archs) {
    for (const uint32_t number : kNumbers) {
      const uint32_t action = any(kActions, engine);
      const uint32_t only = engine() % 6;
      const size_t count = engine() % 5;
      for (size_t rules = count; rules > 0; --rules) {
        seccomp::Rule rule = {number, options.overlaps ? any(kActions, engine) : action, {}};
        for (uint32_t argument = 0; argument < 6; ++argument) {
          const bool asked = options.overlaps || count == 1 ? engine() % 4 == 0 : argument == only;
          if (!asked) continue;
          seccomp::Condition condition = randomCondition(argument, engine);
          // libseccomp 2.5 loses rules that compare one argument with values of different upper halves.
          if (!options.overlaps && count > 1) condition.value &= UINT32_MAX;
          if (!options.overlaps && count > 1) condition.valueTwo &= UINT32_MAX;
          rule.conditions.push_back(condition);
        }
        arch.rules.push_back(rule);
      }
    }
  }
  return profile;
}

std::vector<struct seccomp_data> samples(const seccomp::ArchRules& arch, uint32_t seed) {
  std::mt19937_64 engine(seed);
  std::vector<struct seccomp_data> list;
  const auto add = [&](uint32_t number, int count) {
    for (int index = 0; index < count; ++index) {
      struct seccomp_data data = {};
      data.nr = static_cast<int>(number);
      data.arch = arch.arch == seccomp::Arch::x86_64 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_I386;
      for (auto& argument : data.args) {
        argument = any(kValues, engine) + (engine() % 3) - 1;
        if (arch.arch == seccomp::Arch::i386) argument &= UINT32_MAX;
      }
      list.push_back(data);
    }
  };
  for (uint32_t number = 0; number < 470; ++number) {
    const bool named = std::find(std::begin(kNumbers), std::end(kNumbers), number) != std::end(kNumbers);
    add(number, named ? 60 : 1);
  }
  for (const uint32_t number : {470u, 0x3fffffffu, 0x40000000u, 0x40000001u, 0xffffffffu}) add(number, 1);
  return list;
}

}  // namespace bulkhead::test
