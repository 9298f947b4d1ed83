// Rules about ranges of one argument, as most are: two searches instead of one test after the other.
#include <linux/seccomp.h>

#include <algorithm>
#include <cstddef>

#include "seccomp/diagram.h"

namespace bulkhead::seccomp {
namespace {

// Every pair of boundaries is looked at.
constexpr size_t kMaxRules = 48;

/** True when the values of a 32-bit half that a mask and a value allow are neighbours. */
bool isRange(uint32_t mask) {
  const uint32_t free = ~mask;
  return (free & (free + 1)) == 0;
}

bool holds(const Condition& condition, uint64_t value) {
  switch (condition.compare) {
    case Compare::notEqual:
      return value != condition.value;
    case Compare::less:
      return value < condition.value;
    case Compare::lessOrEqual:
      return value <= condition.value;
    case Compare::equal:
      return value == condition.value;
    case Compare::greaterOrEqual:
      return value >= condition.value;
    case Compare::greater:
      return value > condition.value;
    case Compare::maskedEqual:
      return (value & condition.value) == condition.valueTwo;
  }
  return false;
}

/** 32-bit programs have 32-bit arguments: only the low half of what the profile says can be meant. */
Condition narrowed(Condition condition) {
  condition.value &= UINT32_MAX;
  condition.valueTwo &= UINT32_MAX;
  return condition;
}

/** First values of the ranges within which no condition can tell two values of a half apart. */
std::vector<uint32_t> boundaries(const std::vector<Condition>& conditions, unsigned shift) {
  std::vector<uint32_t> firsts = {0};
  const auto add = [&](uint32_t first, uint32_t last) {
    firsts.push_back(first);
    if (last != UINT32_MAX) firsts.push_back(last + 1);
  };
  for (const Condition& condition : conditions) {
    const uint32_t value = static_cast<uint32_t>(condition.value >> shift);
    if (condition.compare == Compare::maskedEqual) {
      const uint32_t first = static_cast<uint32_t>(condition.valueTwo >> shift);
      add(first, first | ~value);
    } else {
      add(value, value);
    }
  }
  std::sort(firsts.begin(), firsts.end());
  firsts.erase(std::unique(firsts.begin(), firsts.end()), firsts.end());
  return firsts;
}

}  // namespace

bool buildOneArgument(Diagram* diagram, const Decision& decision, Arch arch, NodeId* node) {
  const std::vector<Rule>& rules = decision.conditional;
  if (rules.empty() || rules.size() > kMaxRules) return false;
  const bool narrow = arch == Arch::i386;
  const uint32_t argument = rules[0].conditions[0].argument;
  std::vector<Condition> conditions;
  for (const Rule& rule : rules) {
    if (rule.conditions.size() != 1 || rule.conditions[0].argument != argument) return false;
    const Condition condition = narrow ? narrowed(rule.conditions[0]) : rule.conditions[0];
    if (condition.compare == Compare::maskedEqual &&
        !(isRange(static_cast<uint32_t>(condition.value)) && isRange(static_cast<uint32_t>(condition.value >> 32)))) {
      return false;
    }
    conditions.push_back(condition);
  }
  const auto actionFor = [&](uint64_t value) {
    for (size_t index = 0; index < rules.size(); ++index) {
      if (holds(conditions[index], value)) return diagram->action(rules[index].action);
    }
    return diagram->action(decision.otherwise);
  };
  const uint32_t low = offsetof(struct seccomp_data, args) + 8 * argument;
  const std::vector<uint32_t> bottoms = boundaries(conditions, 0);
  const auto bottomSearch = [&](uint32_t top) {
    std::vector<Run> runs;
    for (const uint32_t first : bottoms) runs.push_back({first, actionFor(uint64_t{top} << 32 | first)});
    return buildSearch(diagram, low, runs);
  };
  std::vector<Run> tops;
  for (const uint32_t first : narrow ? std::vector<uint32_t>{0} : boundaries(conditions, 32)) {
    tops.push_back({first, bottomSearch(first)});
  }
  *node = buildSearch(diagram, low + 4, tops);
  return true;
}

}  // namespace bulkhead::seccomp
