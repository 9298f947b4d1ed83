#include "bpf_machine.h"

#include <linux/bpf_common.h>

#include "runner.h"

namespace bulkhead::test {
namespace {

using seccomp::Compare;

bool holds(const seccomp::Condition& condition, seccomp::Arch arch, uint64_t value) {
  const uint64_t reach = arch == seccomp::Arch::i386 ? UINT32_MAX : UINT64_MAX;
  const uint64_t wanted = condition.value & reach;
  switch (condition.compare) {
    case Compare::notEqual:
      return value != wanted;
    case Compare::less:
      return value < wanted;
    case Compare::lessOrEqual:
      return value <= wanted;
    case Compare::equal:
      return value == wanted;
    case Compare::greaterOrEqual:
      return value >= wanted;
    case Compare::greater:
      return value > wanted;
    case Compare::maskedEqual:
      return (value & wanted) == (condition.valueTwo & wanted);
  }
  return false;
}

}  // namespace

uint32_t interpret(const std::vector<seccomp::Instruction>& program, const struct seccomp_data& data) {
  uint32_t a = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const seccomp::Instruction& step = program[at];
    switch (step.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        EXPECT(step.operand % 4 == 0 && step.operand + 4 <= sizeof data);
        memcpy(&a, reinterpret_cast<const char*>(&data) + step.operand, 4);
        break;
      case BPF_JMP | BPF_JA:
        at += step.operand;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += a == step.operand ? step.jumpTrue : step.jumpFalse;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        at += a > step.operand ? step.jumpTrue : step.jumpFalse;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += a >= step.operand ? step.jumpTrue : step.jumpFalse;
        break;
      case BPF_JMP | BPF_JSET | BPF_K:
        at += (a & step.operand) != 0 ? step.jumpTrue : step.jumpFalse;
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        a &= step.operand;
        break;
      case BPF_RET | BPF_K:
        return step.operand;
      default:
        EXPECT(!"a known instruction");
        return 0;
    }
  }
  EXPECT(!"a return before the end");
  return 0;
}

uint32_t plainDecision(const seccomp::Decision& decision, seccomp::Arch arch, const struct seccomp_data& data) {
  for (const seccomp::Rule& rule : decision.conditional) {
    bool all = true;
    for (const auto& condition : rule.conditions) all = all && holds(condition, arch, data.args[condition.argument]);
    if (all) return rule.action;
  }
  return decision.otherwise;
}

}  // namespace bulkhead::test
