#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>

#include "seccomp/profile.h"

namespace bulkhead::seccomp {
namespace {

using Code = std::vector<Instruction>;

constexpr uint16_t kLoad = BPF_LD | BPF_W | BPF_ABS;
constexpr uint16_t kReturn = BPF_RET | BPF_K;
constexpr uint16_t kEqual = BPF_JMP | BPF_JEQ | BPF_K;
constexpr uint16_t kGreater = BPF_JMP | BPF_JGT | BPF_K;
constexpr uint16_t kAtLeast = BPF_JMP | BPF_JGE | BPF_K;
constexpr uint16_t kAnd = BPF_ALU | BPF_AND | BPF_K;
constexpr uint16_t kJump = BPF_JMP | BPF_JA;
// A conditional jump reaches at most this far.
constexpr size_t kReach = 255;
// Marks "to the end of this rule" until the rule's length is known.
constexpr uint8_t kFail = 255;
// x32 system calls carry this bit under the x86-64 architecture; kernels without x32 answer ENOSYS themselves.
constexpr uint32_t kX32Bit = 0x40000000;

Instruction ret(uint32_t action) {
  return {kReturn, 0, 0, action};
}

void emitCondition(const Condition& condition, Code* code) {
  const uint32_t low = offsetof(struct seccomp_data, args) + 8 * condition.argument;
  const uint32_t high = low + 4;
  const auto top = [](uint64_t value) { return static_cast<uint32_t>(value >> 32); };
  const auto bottom = [](uint64_t value) { return static_cast<uint32_t>(value); };
  const uint64_t value = condition.value;
  code->push_back({kLoad, 0, 0, high});
  switch (condition.compare) {
    case Compare::equal:
      code->push_back({kEqual, 0, kFail, top(value)});
      code->push_back({kLoad, 0, 0, low});
      code->push_back({kEqual, 0, kFail, bottom(value)});
      break;
    case Compare::notEqual:
      code->push_back({kEqual, 0, 2, top(value)});
      code->push_back({kLoad, 0, 0, low});
      code->push_back({kEqual, kFail, 0, bottom(value)});
      break;
    case Compare::greater:
    case Compare::greaterOrEqual:
      code->push_back({kGreater, 3, 0, top(value)});
      code->push_back({kEqual, 0, kFail, top(value)});
      code->push_back({kLoad, 0, 0, low});
      code->push_back({condition.compare == Compare::greater ? kGreater : kAtLeast, 0, kFail, bottom(value)});
      break;
    case Compare::less:
    case Compare::lessOrEqual:
      code->push_back({kGreater, kFail, 0, top(value)});
      code->push_back({kEqual, 0, 2, top(value)});
      code->push_back({kLoad, 0, 0, low});
      code->push_back({condition.compare == Compare::less ? kAtLeast : kGreater, kFail, 0, bottom(value)});
      break;
    case Compare::maskedEqual:
      code->push_back({kAnd, 0, 0, top(value)});
      code->push_back({kEqual, 0, kFail, top(condition.valueTwo)});
      code->push_back({kLoad, 0, 0, low});
      code->push_back({kAnd, 0, 0, bottom(value)});
      code->push_back({kEqual, 0, kFail, bottom(condition.valueTwo)});
      break;
  }
}

/** The conditions, then the action; falls out at its end when one does not hold. At most 6 conditions: 32 steps. */
Code emitRule(const Rule& rule) {
  Code code;
  for (const Condition& condition : rule.conditions) emitCondition(condition, &code);
  code.push_back(ret(rule.action));
  for (size_t at = 0; at < code.size(); ++at) {
    Instruction& step = code[at];
    if ((step.code & 0x07) != BPF_JMP) continue;
    const uint8_t toEnd = static_cast<uint8_t>(code.size() - at - 1);
    if (step.jumpTrue == kFail) step.jumpTrue = toEnd;
    if (step.jumpFalse == kFail) step.jumpFalse = toEnd;
  }
  return code;
}

/** System calls from `first` up to the next range's first that are treated alike. */
struct Range {
  uint32_t first;
  Code code;
};

bool sameCode(const Code& a, const Code& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const Instruction& x, const Instruction& y) {
    return x.code == y.code && x.jumpTrue == y.jumpTrue && x.jumpFalse == y.jumpFalse && x.operand == y.operand;
  });
}

Code treat(const std::vector<const Rule*>& rules, uint32_t defaultAction) {
  uint32_t last = defaultAction;
  std::vector<const Rule*> conditional;
  for (const Rule* rule : rules) {
    if (rule->conditions.empty()) {
      last = rule->action;
      break;
    }
    conditional.push_back(rule);
  }
  while (!conditional.empty() && conditional.back()->action == last) conditional.pop_back();
  Code code;
  for (const Rule* rule : conditional) {
    const Code part = emitRule(*rule);
    code.insert(code.end(), part.begin(), part.end());
  }
  code.push_back(ret(last));
  return code;
}

std::vector<Range> rangesOf(const ArchRules& arch, uint32_t defaultAction) {
  uint32_t highest = 0;
  for (const Rule& rule : arch.rules) highest = std::max(highest, rule.number);
  std::vector<std::vector<const Rule*>> byNumber(highest + 1);
  for (const Rule& rule : arch.rules) byNumber[rule.number].push_back(&rule);
  std::vector<Range> ranges;
  const auto append = [&](uint32_t first, Code code) {
    if (ranges.empty() || !sameCode(ranges.back().code, code)) ranges.push_back({first, std::move(code)});
  };
  for (uint32_t number = 0; number <= highest; ++number) append(number, treat(byNumber[number], defaultAction));
  const bool permissive = defaultAction == SECCOMP_RET_ALLOW || defaultAction == SECCOMP_RET_LOG;
  const uint32_t unknown = permissive ? defaultAction : SECCOMP_RET_ERRNO | ENOSYS;
  append(highest + 1, {ret(unknown)});
  if (arch.arch == Arch::x86_64) append(kX32Bit, {ret(SECCOMP_RET_ERRNO | ENOSYS)});
  return ranges;
}

Code emitSearch(const std::vector<Range>& ranges, size_t begin, size_t end) {
  if (end - begin == 1) return ranges[begin].code;
  const size_t middle = begin + (end - begin) / 2;
  const Code left = emitSearch(ranges, begin, middle);
  const Code right = emitSearch(ranges, middle, end);
  Code code;
  if (left.size() <= kReach) {
    code.push_back({kAtLeast, static_cast<uint8_t>(left.size()), 0, ranges[middle].first});
  } else {
    code.push_back({kAtLeast, 0, 1, ranges[middle].first});
    code.push_back({kJump, 0, 0, static_cast<uint32_t>(left.size())});
  }
  code.insert(code.end(), left.begin(), left.end());
  code.insert(code.end(), right.begin(), right.end());
  return code;
}

}  // namespace

std::vector<Instruction> assemble(const Profile& profile) {
  Code program = {{kLoad, 0, 0, offsetof(struct seccomp_data, arch)}};
  for (const ArchRules& arch : profile.archs) {
    const Code search = [&] {
      const std::vector<Range> ranges = rangesOf(arch, profile.defaultAction);
      return emitSearch(ranges, 0, ranges.size());
    }();
    const uint32_t audit = arch.arch == Arch::x86_64 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_I386;
    program.push_back({kEqual, 1, 0, audit});
    program.push_back({kJump, 0, 0, static_cast<uint32_t>(search.size() + 1)});
    program.push_back({kLoad, 0, 0, offsetof(struct seccomp_data, nr)});
    program.insert(program.end(), search.begin(), search.end());
  }
  program.push_back(ret(SECCOMP_RET_KILL_PROCESS));
  if (program.size() > BPF_MAXINSNS) return {};
  return program;
}

}  // namespace bulkhead::seccomp
