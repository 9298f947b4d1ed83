// The monitor's command line.
#include "vmm/options.h"

#include <cerrno>

#include "memory/layout.h"
#include "runner.h"
#include "vmm/devices.h"
#include "vmm/named_file.h"

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

TEST(a_snapshot_takes_the_kernels_place) {
  auto read = parse({"--restore", "fd:3", "--memory", "fd:4", "--locked", "--pin", "0", "--device", "entropy"});
  EXPECT(read.ok());
  if (!read.ok()) return;
  EXPECT_TEXT(read.value().restore, "fd:3");
  EXPECT_TEXT(read.value().memory, "fd:4");
  EXPECT(parse({"--restore", "fd:3"}).error().err == EINVAL);
  EXPECT(parse({"--kernel", "k", "--memory", "fd:3"}).error().err == EINVAL);
  // What the snapshot says itself.
  for (const char* word : {"--kernel", "--initramfs", "--command-line", "--cpus", "--memory-mib"}) {
    auto refused = parse({"--restore", "fd:3", "--memory", "fd:4", word, "1"});
    EXPECT(!refused.ok() && refused.error().path.view() == word);
  }
}

TEST(a_question_to_another_monitor_takes_the_machines_place) {
  const std::vector<const char*> saves = {"--ask", "/run/control", "--request", "save",         "--new-file",
                                          "a",     "--new-file",   "b",         "--memory-mib", "2"};
  auto read = parse(saves);
  EXPECT(read.ok() && read.value().question.files.size() == 2);
  EXPECT(read.ok() && read.value().question.memoryBytes == 2 * layout::kMiB);
  // It is checked against what the machine has, and both its files are made.
  for (const size_t left : {4u, 6u, 8u}) {
    EXPECT(parse({saves.begin(), saves.begin() + static_cast<long>(left)}).error().err == EINVAL);
  }
  EXPECT(parse({"--ask", "/run/control", "--request", "state", "--new-file", "a"}).error().err == EINVAL);
  EXPECT(parse({"--ask", "/run/control"}).error().err == EINVAL);
  EXPECT(ask({.control = "/nowhere/control", .request = "state"}).error().err == ENOENT);
}

TEST(options_that_mean_nothing_are_refused) {
  const std::vector<std::vector<const char*>> wrong = {
      {}, {"--kernel"}, {"--nothing"}, {"--kernel", "k", "--cpus", "x"}, {"--kernel", "k", "--cpus", "65"}};
  for (const auto& words : wrong) {
    auto read = parse(words);
    EXPECT(!read.ok() && read.error().err == EINVAL);
  }
}

TEST(devices_are_opened_as_they_are_named) {
  EXPECT(openDevice("entropy").ok());
  auto console = openDevice("console,out=fd:2,in=/dev/null");
  EXPECT(console.ok() && console.value()->kind() == DeviceKind::console);
  for (const char* wrong :
       {"", "nothing", "entropy,size=1", "console", "console,in=fd:0", "console,out=fd:2,", "block",
        "block,file=/dev/null", "balloon,mib=x", "vsock", "vsock,cid=2", "net,frames=fd:0", "net,mac=02:00:00:00:00:01",
        "net,mac=02:00:00:00:00:0g,frames=fd:0", "net,mac=02:00:00:00:00:01:,frames=fd:0",
        "net,mac=02:00:00:00:00:01,tap=a-name-too-long-for-a-link"}) {
    auto opened = openDevice(wrong);
    EXPECT_THAT(!opened.ok() && opened.error().err == EINVAL, wrong);
  }
  EXPECT(openDevice("console,out=/nowhere").error().err == ENOENT);
}

TEST(descriptors_are_named_by_number) {
  EXPECT(openNamed("fd:x", 0).error().err == EINVAL);
  EXPECT(openNamed("fd:99999", 0).error().err == EBADF);
}

}  // namespace bulkhead::vm
