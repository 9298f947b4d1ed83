// The monitor's command line.
#include "vmm/options.h"

#include <cerrno>

#include "memory/layout.h"
#include "runner.h"

namespace bulkhead::vm {
namespace {

Result<VmmOptions> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "bulkhead-vmm");
  return parseOptions(static_cast<int>(words.size()), const_cast<char**>(words.data()));
}

}  // namespace

TEST(options_are_read) {
  auto read = parse({"--kernel", "fd:3", "--cpus", "2", "--memory-mib", "64", "--locked"});
  EXPECT(read.ok());
  EXPECT_TEXT(read.value().kernel, "fd:3");
  EXPECT(read.value().machine.cpus == 2 && read.value().machine.memory.locked);
  EXPECT(read.value().machine.memory.sizeBytes == 64 * layout::kMiB);
}

TEST(options_that_mean_nothing_are_refused) {
  const std::vector<std::vector<const char*>> wrong = {
      {}, {"--kernel"}, {"--nothing"}, {"--kernel", "k", "--cpus", "x"}, {"--kernel", "k", "--cpus", "65"}};
  for (const auto& words : wrong) {
    auto read = parse(words);
    EXPECT(!read.ok() && read.error().err == EINVAL);
  }
  EXPECT(openNamed("fd:x", 0).error().err == EINVAL);
  EXPECT(openNamed("fd:99999", 0).error().err == EBADF);
}

}  // namespace bulkhead::vm
