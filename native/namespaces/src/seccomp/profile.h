// A seccomp profile with names resolved, independent of JSON.
#pragma once

#include <cstdint>
#include <vector>

#include "seccomp/syscalls.h"

namespace bulkhead::seccomp {

enum class Compare : uint8_t { notEqual, less, lessOrEqual, equal, greaterOrEqual, greater, maskedEqual };

struct Condition {
  uint32_t argument = 0;
  Compare compare = Compare::equal;
  uint64_t value = 0;
  uint64_t valueTwo = 0;  // maskedEqual: (argument & value) == valueTwo
};

/** What happens to one system call: `action` (SECCOMP_RET_*) when all conditions hold. */
struct Rule {
  uint32_t number = 0;
  uint32_t action = 0;
  std::vector<Condition> conditions;
};

struct ArchRules {
  Arch arch = Arch::x86_64;
  std::vector<Rule> rules;
};

struct Profile {
  uint32_t defaultAction = 0;
  uint32_t flags = 0;
  /** Some rule asks a listener (SECCOMP_RET_USER_NOTIF). */
  bool notifies = false;
  std::vector<ArchRules> archs;
};

/** One classic BPF instruction (struct sock_filter). */
struct Instruction {
  uint16_t code;
  uint8_t jumpTrue;
  uint8_t jumpFalse;
  uint32_t operand;
};

/** What decides one system call: the first of `conditional` whose conditions hold, else `otherwise`. */
struct Decision {
  std::vector<Rule> conditional;
  uint32_t otherwise = 0;
};

/**
 * The rules of one system call in the order that decides, as libseccomp reads them, so that a profile means here what
 * it means under other runtimes. The order in the profile says nothing:
 * - a rule with the default action has no effect;
 * - of two rules the wider wins: one without conditions over all others, one whose conditions are among another's
 *   over that one (the first given, when they are the same);
 * - otherwise equality is asked before "less", that before "greater", a tighter bound before a looser one.
 */
Decision decide(const std::vector<Rule>& rules, uint32_t defaultAction);

/** Above this number a system call answers ENOSYS unless the default lets it happen. */
uint32_t highestNumber(const ArchRules& arch);
/** What a system call answers that the profile cannot know: a program must believe in an old kernel, not in a refusal.
 */
uint32_t unknownAction(uint32_t defaultAction);
/** x32 system calls carry this bit under the x86-64 architecture; they answer ENOSYS, as kernels without x32 do. */
inline constexpr uint32_t kX32Bit = 0x40000000;

/**
 * The program: a decision diagram without repeated parts, a foreign architecture kills the process. It uses only
 * instructions that the kernel can follow when it looks for system calls that are always allowed (since Linux 5.11
 * those do not run the filter at all). Empty when it would not fit in the kernel's 4096 instructions.
 */
std::vector<Instruction> assemble(const Profile& profile);

}  // namespace bulkhead::seccomp
