#include <linux/audit.h>
#include <linux/bpf_common.h>
#include <linux/seccomp.h>

#include <cerrno>
#include <cstddef>

#include "plan_input.h"
#include "runner.h"
#include "seccomp/compile.h"

namespace bulkhead {
namespace {

using seccomp::Compare;
using seccomp::Instruction;
using seccomp::Profile;

/** What the kernel's interpreter would answer; aborts on anything its verifier would refuse. */
uint32_t interpret(const std::vector<Instruction>& program, const struct seccomp_data& data) {
  uint32_t a = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const Instruction& step = program[at];
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

Profile read(const std::string& json, std::vector<std::string>* warnings) {
  rapidjson::Document document;
  std::string reason;
  EXPECT(plan::parseBounded(json, &document, &reason));
  Arena arena(8 << 20);
  plan::Context context(&arena);
  Profile profile;
  const plan::View root(document);
  EXPECT_THAT(seccomp::readProfile(&context, root, &profile, warnings), context.error().message);
  return profile;
}

bool holds(const seccomp::Condition& condition, uint64_t value) {
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

/** The profile read the plain way: first rule whose conditions hold, else the default, else "unknown". */
uint32_t expected(const Profile& profile, const seccomp::ArchRules& arch, const struct seccomp_data& data) {
  uint32_t highest = 0;
  for (const auto& rule : arch.rules) highest = rule.number > highest ? rule.number : highest;
  const uint32_t number = static_cast<uint32_t>(data.nr);
  if (arch.arch == seccomp::Arch::x86_64 && number >= 0x40000000) return SECCOMP_RET_ERRNO | ENOSYS;
  if (number > highest && profile.defaultAction != SECCOMP_RET_ALLOW) return SECCOMP_RET_ERRNO | ENOSYS;
  for (const auto& rule : arch.rules) {
    bool all = rule.number == number;
    for (const auto& condition : rule.conditions) all = all && holds(condition, data.args[condition.argument]);
    if (all) return rule.action;
  }
  return profile.defaultAction;
}

// Values around every boundary that a 64-bit comparison in 32-bit halves can get wrong.
constexpr uint64_t kInteresting[] = {0,
                                     1,
                                     7,
                                     8,
                                     9,
                                     37,
                                     38,
                                     39,
                                     40,
                                     41,
                                     0x7E020000,
                                     0x7FFFFFFF,
                                     0x80000000,
                                     0xFFFFFFFF,
                                     0x100000000,
                                     0x100000007,
                                     0x100000008,
                                     0x100000009,
                                     0x7FFFFFFF00000000,
                                     0xFFFFFFFFFFFFFFFF};

void compareEverywhere(const Profile& profile) {
  const auto program = seccomp::assemble(profile);
  EXPECT(!program.empty());
  for (const auto& arch : profile.archs) {
    struct seccomp_data data = {};
    data.arch = arch.arch == seccomp::Arch::x86_64 ? AUDIT_ARCH_X86_64 : AUDIT_ARCH_I386;
    for (int number = 0; number < 600; ++number) {
      data.nr = number;
      for (const uint64_t value : kInteresting) {
        for (auto& argument : data.args) argument = value;
        const uint32_t actual = interpret(program, data);
        EXPECT_THAT(actual == expected(profile, arch, data), "system call " + std::to_string(number));
      }
    }
    data.nr = 0x40000001;
    EXPECT(interpret(program, data) == (SECCOMP_RET_ERRNO | ENOSYS));
  }
}

TEST(theProgramMeansWhatTheProfileSays) {
  std::vector<std::string> warnings;
  compareEverywhere(read(test::allowListProfile(), &warnings));
}

TEST(everyComparisonMeansWhatItSaysOnBothHalves) {
  for (const char* op : {"NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"}) {
    for (const uint64_t value : kInteresting) {
      std::vector<std::string> warnings;
      compareEverywhere(read(
          R"({"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","close"],"action":"SCMP_ACT_KILL_PROCESS",
        "args":[{"index":2,"value":)" +
              std::to_string(value) + R"(,"valueTwo":8,"op":"SCMP_CMP_)" + op + R"("},
                {"index":5,"value":8,"op":"SCMP_CMP_GE"}]},{"names":["close"],"action":"SCMP_ACT_ALLOW"}]})",
          &warnings));
    }
  }
}

TEST(aForeignArchitectureIsKilled) {
  std::vector<std::string> warnings;
  const auto program = seccomp::assemble(read(test::allowListProfile(), &warnings));
  struct seccomp_data data = {};
  data.arch = AUDIT_ARCH_AARCH64;
  EXPECT(interpret(program, data) == SECCOMP_RET_KILL_PROCESS);
}

TEST(unknownNamesAreWarnings) {
  std::vector<std::string> warnings;
  read(
      R"({"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"names":["read","teleport","socketcall"],"action":"SCMP_ACT_ALLOW"}]})",
      &warnings);
  EXPECT(warnings.size() == 1);
  EXPECT_TEXT(warnings.empty() ? "" : warnings[0], "/syscalls/0/names/1: unknown system call is ignored");
}

TEST(aDefaultProfileStaysSmall) {
  // 0.6 us per instruction to install: the budget of a start is spent elsewhere.
  std::vector<std::string> warnings;
  const auto program = seccomp::assemble(read(test::allowListProfile(), &warnings));
  EXPECT_THAT(program.size() < 400, std::to_string(program.size()));
}

TEST(theCacheGivesTheSameProgramAndItsWarnings) {
  seccomp::Cache cache;
  const std::string input = test::with(
      test::planInput(), R"("maskedPaths")",
      R"("seccomp":{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["nope","mount"],"action":"SCMP_ACT_ERRNO"}]},"maskedPaths")");
  plan::Compiled first;
  plan::Compiled second;
  plan::CompileError error;
  EXPECT(plan::compileContainer(input, &cache, &first, &error));
  EXPECT(plan::compileContainer(input, &cache, &second, &error));
  EXPECT(first.bytes == second.bytes && first.warnings == second.warnings && first.warnings.size() == 1);
}

}  // namespace
}  // namespace bulkhead
