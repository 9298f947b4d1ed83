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
  std::vector<Rule> rules;  // in the order of the profile: the first whose conditions hold decides
};

struct Profile {
  uint32_t defaultAction = 0;
  uint32_t flags = 0;
  std::vector<ArchRules> archs;
};

/** One classic BPF instruction (struct sock_filter). */
struct Instruction {
  uint16_t code;
  uint8_t jumpTrue;
  uint8_t jumpFalse;
  uint32_t operand;
};

/**
 * A program that finds the rule by binary search over ranges of equal treatment. System calls above the largest
 * number that the profile names answer ENOSYS (the program must believe in an old kernel, not in a refusal); a foreign
 * architecture kills the process. Empty when it would not fit in the kernel's 4096 instructions.
 */
std::vector<Instruction> assemble(const Profile& profile);

}  // namespace bulkhead::seccomp
