#include <linux/audit.h>
#include <linux/seccomp.h>

#include <cerrno>
#include <cstddef>

#include "bpf_machine.h"
#include "plan_input.h"
#include "random_profile.h"
#include "runner.h"
#include "seccomp/compile.h"

namespace bulkhead {
namespace {

using seccomp::Instruction;
using seccomp::Profile;
using test::interpret;

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

/** The profile read the plain way: rules in the order that decides, else the default, else "unknown". */
uint32_t expected(const Profile& profile, const seccomp::ArchRules& arch, const struct seccomp_data& data) {
  const uint32_t number = static_cast<uint32_t>(data.nr);
  if (arch.arch == seccomp::Arch::x86_64 && number >= seccomp::kX32Bit) return SECCOMP_RET_ERRNO | ENOSYS;
  if (number > seccomp::highestNumber(arch)) return seccomp::unknownAction(profile.defaultAction);
  std::vector<seccomp::Rule> rules;
  for (const auto& rule : arch.rules) {
    if (rule.number == number) rules.push_back(rule);
  }
  return test::plainDecision(seccomp::decide(rules, profile.defaultAction), arch.arch, data);
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
        // The kernel clears the upper halves of a 32-bit program's arguments.
        for (auto& argument : data.args) argument = arch.arch == seccomp::Arch::i386 ? value & UINT32_MAX : value;
        const uint32_t actual = interpret(program, data);
        EXPECT_THAT(actual == expected(profile, arch, data), "system call " + std::to_string(number));
      }
    }
    data.nr = 0x40000001;
    EXPECT(interpret(program, data) == expected(profile, arch, data));
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
  // Installing costs 0.3 us per instruction: the budget of a start is spent elsewhere.
  std::vector<std::string> warnings;
  const auto program = seccomp::assemble(read(test::allowListProfile(), &warnings));
  EXPECT_THAT(program.size() < 150, std::to_string(program.size()));
}

TEST(anyProfileMeansWhatItsRulesSay) {
  for (uint32_t seed = 1; seed <= 150; ++seed) {
    const Profile profile = test::randomProfile(seed, {.overlaps = true});
    const auto program = seccomp::assemble(profile);
    EXPECT_THAT(!program.empty(), "seed " + std::to_string(seed));
    for (const auto& arch : profile.archs) {
      for (struct seccomp_data data : test::samples(arch, seed)) {
        EXPECT_THAT(interpret(program, data) == expected(profile, arch, data),
                    "seed " + std::to_string(seed) + " system call " + std::to_string(data.nr));
      }
    }
  }
}

TEST(aProgramLongerThanAJumpReaches) {
  // Every second call has its own answer: no two neighbours can share a range.
  Profile profile;
  profile.defaultAction = SECCOMP_RET_KILL_PROCESS;
  profile.archs.push_back({seccomp::Arch::x86_64, {}});
  for (uint32_t number = 0; number < 400; ++number) {
    profile.archs[0].rules.push_back({number, uint32_t{SECCOMP_RET_ERRNO} | (number + 1), {}});
  }
  EXPECT(seccomp::assemble(profile).size() > 600);
  compareEverywhere(profile);
}

TEST(aProgramTheKernelCannotTakeIsNone) {
  std::string rules;
  for (int number = 0; number < 300; ++number) {
    for (int rule = 0; rule < 5; ++rule) {
      const std::string value = std::to_string(number * 7 + rule * 3 + 1);
      rules += rules.empty() ? "" : ",";
      rules += R"({"names":["read","write","open","close","stat","fstat","lstat","poll","lseek","mmap"],"action":)"
               R"("SCMP_ACT_ERRNO","errnoRet":)" +
               value + R"(,"args":[{"index":)" + std::to_string(rule) + R"(,"op":"SCMP_CMP_EQ","value":)" + value +
               R"(},{"index":5,"op":"SCMP_CMP_NE","value":)" + value + "}]}";
    }
  }
  const std::string profile = R"({"defaultAction":"SCMP_ACT_ALLOW","syscalls":[)" + rules + "]}";
  rapidjson::Document document;
  std::string reason;
  EXPECT(plan::parseBounded(profile, &document, &reason));
  Arena arena(8 << 20);
  plan::Context context(&arena);
  Profile read;
  std::vector<std::string> warnings;
  const plan::View root(document);
  EXPECT(!seccomp::readProfile(&context, root, &read, &warnings));
  EXPECT_TEXT(context.error().pointer + " " + context.error().message,
              "/syscalls has more than 256 rules for one system call");
}

TEST(whatOneRuleSaysAnotherMayHide) {
  const auto warned = [](const char* rules) {
    std::vector<std::string> warnings;
    read(std::string(R"({"defaultAction":"SCMP_ACT_ERRNO","syscalls":[)") + rules + "]}", &warnings);
    return warnings.empty() ? "" : warnings[0];
  };
  const char* conditional =
      R"({"names":["read"],"action":"SCMP_ACT_KILL","args":[{"index":0,"value":1,"op":"SCMP_CMP_EQ"}]})";
  EXPECT_TEXT(warned(conditional), "");
  EXPECT_TEXT(warned((std::string(conditional) + R"(,{"names":["read"],"action":"SCMP_ACT_ALLOW"})").c_str()),
              "/syscalls: rules with conditions have no effect beside one without");
}

TEST(olderWaysToASocketFollowTheirNewName) {
  std::vector<std::string> warnings;
  const auto program = seccomp::assemble(read(
      R"({"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"syscalls":[
        {"names":["connect","shmget"],"action":"SCMP_ACT_ALLOW"},{"names":["exit_group"],"action":"SCMP_ACT_LOG"}]})",
      &warnings));
  struct seccomp_data data = {};
  data.arch = AUDIT_ARCH_I386;
  data.nr = 102;  // socketcall
  EXPECT(interpret(program, data) == (SECCOMP_RET_ERRNO | EPERM));
  data.args[0] = 3;
  EXPECT(interpret(program, data) == SECCOMP_RET_ALLOW);
  data.nr = 117;  // ipc
  EXPECT(interpret(program, data) == (SECCOMP_RET_ERRNO | EPERM));
  data.args[0] = 23;
  EXPECT(interpret(program, data) == SECCOMP_RET_ALLOW);
}

TEST(callsNewerThanTheProfileDoNotExist) {
  const auto beyond = [](const char* action) {
    std::vector<std::string> warnings;
    const auto program = seccomp::assemble(
        read(std::string(R"({"defaultAction":")") + action +
                 R"(","listenerPath":"/l","syscalls":[{"names":["statx"],"action":"SCMP_ACT_KILL"}]})",
             &warnings));
    struct seccomp_data data = {};
    data.arch = AUDIT_ARCH_X86_64;
    data.nr = 333;
    return interpret(program, data);
  };
  EXPECT(beyond("SCMP_ACT_ERRNO") == (SECCOMP_RET_ERRNO | ENOSYS));
  EXPECT(beyond("SCMP_ACT_KILL_PROCESS") == (SECCOMP_RET_ERRNO | ENOSYS));
  EXPECT(beyond("SCMP_ACT_NOTIFY") == (SECCOMP_RET_ERRNO | ENOSYS));
  EXPECT(beyond("SCMP_ACT_ALLOW") == SECCOMP_RET_ALLOW);
  EXPECT(beyond("SCMP_ACT_LOG") == SECCOMP_RET_LOG);
  EXPECT(beyond("SCMP_ACT_TRACE") == (SECCOMP_RET_TRACE | EPERM));
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
