// Which rule decides when several name one system call.
#include <linux/seccomp.h>

#include <algorithm>
#include <cerrno>

#include "seccomp/profile.h"

namespace bulkhead::seccomp {
namespace {

bool same(const Condition& a, const Condition& b) {
  return a.argument == b.argument && a.compare == b.compare && a.value == b.value && a.valueTwo == b.valueTwo;
}

/** Every condition of `wide` is one of `narrow`. */
bool contains(const Rule& narrow, const Rule& wide) {
  return std::all_of(wide.conditions.begin(), wide.conditions.end(), [&](const Condition& one) {
    return std::any_of(narrow.conditions.begin(), narrow.conditions.end(),
                       [&](const Condition& other) { return same(one, other); });
  });
}

int precision(Compare compare) {
  switch (compare) {
    case Compare::equal:
    case Compare::notEqual:
    case Compare::maskedEqual:
      return 3;
    case Compare::less:
    case Compare::lessOrEqual:
      return 2;
    case Compare::greater:
    case Compare::greaterOrEqual:
      return 1;
  }
  return 0;
}

/** Which of two actions the kernel takes when filters disagree (seccomp(2)): the smaller signed number. */
bool stricter(uint32_t a, uint32_t b) {
  return static_cast<int32_t>(a & SECCOMP_RET_ACTION_FULL) < static_cast<int32_t>(b & SECCOMP_RET_ACTION_FULL);
}

bool before(const Rule& a, const Rule& b) {
  const size_t common = std::min(a.conditions.size(), b.conditions.size());
  for (size_t index = 0; index < common; ++index) {
    const Condition& left = a.conditions[index];
    const Condition& right = b.conditions[index];
    if (left.argument != right.argument) return left.argument > right.argument;
    const int leftPrecision = precision(left.compare);
    const int rightPrecision = precision(right.compare);
    if (leftPrecision != rightPrecision) return leftPrecision > rightPrecision;
    const uint64_t leftValue = left.compare == Compare::maskedEqual ? left.valueTwo : left.value;
    const uint64_t rightValue = right.compare == Compare::maskedEqual ? right.valueTwo : right.value;
    if (leftValue != rightValue) return leftPrecision == 2 ? leftValue < rightValue : leftValue > rightValue;
  }
  return stricter(a.action, b.action);
}

}  // namespace

Decision decide(const std::vector<Rule>& rules, uint32_t defaultAction) {
  Decision decision;
  decision.otherwise = defaultAction;
  std::vector<Rule> effective;
  for (const Rule& rule : rules) {
    if (rule.action == defaultAction) continue;
    if (rule.conditions.empty()) {
      decision.otherwise = rule.action;
      return decision;
    }
    effective.push_back(rule);
    for (Condition& condition : effective.back().conditions) {
      // Bits that the mask takes away cannot be asked for.
      if (condition.compare == Compare::maskedEqual) condition.valueTwo &= condition.value;
    }
    std::sort(effective.back().conditions.begin(), effective.back().conditions.end(),
              [](const Condition& a, const Condition& b) { return a.argument < b.argument; });
  }
  for (size_t index = 0; index < effective.size(); ++index) {
    bool useless = false;
    for (size_t other = 0; other < effective.size() && !useless; ++other) {
      if (other == index || !contains(effective[index], effective[other])) continue;
      useless = !contains(effective[other], effective[index]) || other < index;
    }
    if (!useless) decision.conditional.push_back(effective[index]);
  }
  std::stable_sort(decision.conditional.begin(), decision.conditional.end(), before);
  return decision;
}

uint32_t highestNumber(const ArchRules& arch) {
  uint32_t highest = 0;
  for (const Rule& rule : arch.rules) highest = std::max(highest, rule.number);
  return highest;
}

uint32_t unknownAction(uint32_t defaultAction) {
  const uint32_t kind = defaultAction & SECCOMP_RET_ACTION_FULL;
  // A tracer emulates; telling the program otherwise would take the call from it.
  const bool happens = kind == SECCOMP_RET_ALLOW || kind == SECCOMP_RET_LOG || kind == SECCOMP_RET_TRACE;
  return happens ? defaultAction : uint32_t{SECCOMP_RET_ERRNO} | ENOSYS;
}

}  // namespace bulkhead::seccomp
