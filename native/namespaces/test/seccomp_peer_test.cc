// The same rules given to libseccomp: a profile must mean here what it means under runtimes that use it.
#include <linux/audit.h>
#include <seccomp.h>
#include <unistd.h>

#include "bpf_machine.h"
#include "random_profile.h"
#include "runner.h"

namespace bulkhead {
namespace {

using seccomp::Compare;
using seccomp::Profile;

scmp_compare peerCompare(Compare compare) {
  constexpr scmp_compare kSame[] = {SCMP_CMP_NE, SCMP_CMP_LT, SCMP_CMP_LE,       SCMP_CMP_EQ,
                                    SCMP_CMP_GE, SCMP_CMP_GT, SCMP_CMP_MASKED_EQ};
  return kSame[static_cast<size_t>(compare)];
}

/** libseccomp's program for the rules of the first architecture; empty when it refuses them. */
std::vector<seccomp::Instruction> peerProgram(const Profile& profile) {
  scmp_filter_ctx context = seccomp_init(profile.defaultAction);
  EXPECT(context != nullptr);
  std::vector<seccomp::Instruction> program;
  bool taken = true;
  for (const auto& rule : profile.archs[0].rules) {
    // Other runtimes leave these out; libseccomp refuses them.
    if (rule.action == profile.defaultAction) continue;
    std::vector<scmp_arg_cmp> arguments;
    for (const auto& condition : rule.conditions) {
      arguments.push_back({condition.argument, peerCompare(condition.compare), condition.value, condition.valueTwo});
    }
    taken = taken && seccomp_rule_add_array(context, rule.action, static_cast<int>(rule.number),
                                            static_cast<unsigned>(arguments.size()), arguments.data()) == 0;
  }
  char path[] = "/tmp/bulkhead-native-peer-XXXXXX";
  const int fd = mkstemp(path);
  EXPECT(fd >= 0);
  unlink(path);
  if (taken && seccomp_export_bpf(context, fd) == 0) {
    program.resize(static_cast<size_t>(lseek(fd, 0, SEEK_END)) / sizeof(seccomp::Instruction));
    const size_t bytes = program.size() * sizeof(seccomp::Instruction);
    EXPECT(pread(fd, program.data(), bytes, 0) == static_cast<ssize_t>(bytes));
  }
  close(fd);
  seccomp_release(context);
  return program;
}

/** How many of the sampled calls are answered differently; calls that no profile knows are ours to answer. */
size_t differences(const Profile& profile, uint32_t seed, size_t* compared, std::string* first) {
  const auto ours = seccomp::assemble(profile);
  const auto theirs = peerProgram(profile);
  if (theirs.empty()) return 0;
  size_t count = 0;
  for (const struct seccomp_data& data : test::samples(profile.archs[0], seed)) {
    if (static_cast<uint32_t>(data.nr) > seccomp::highestNumber(profile.archs[0])) continue;
    ++*compared;
    if (test::interpret(ours, data) == test::interpret(theirs, data)) continue;
    if (count++ == 0) *first = "seed " + std::to_string(seed) + " system call " + std::to_string(data.nr);
  }
  return count;
}

TEST(rulesOfOneActionMeanTheSameToLibseccomp) {
  size_t compared = 0;
  for (uint32_t seed = 1; seed <= 200; ++seed) {
    std::string first;
    const size_t count = differences(test::randomProfile(seed, {.withI386 = false}), seed, &compared, &first);
    EXPECT_THAT(count == 0, std::to_string(count) + " calls, first " + first);
  }
  EXPECT_THAT(compared > 100'000, std::to_string(compared));
}

}  // namespace
}  // namespace bulkhead
