// Parts of images that come once somebody touches them.
#include "boot/late_blocks.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <thread>

#include "boot/source.h"
#include "boot/tiny_image.h"
#include "frame_scene.h"
#include "machine/machine.h"
#include "monitor.h"
#include "runner.h"
#include "snapshot/memory_file.h"
#include "sys/syscalls.h"

extern "C" const char guestReadsFarAhead[], guestReadsFarAheadEnd[];
extern "C" const char guestCounts[], guestCountsEnd[];

namespace bulkhead::vm {
namespace {

using layout::kMiB;

/** Neither begins nor ends with a page, in the file as in memory. */
constexpr uint64_t kOffset = 3;
constexpr uint64_t kAddress = kMiB + 5;
constexpr uint64_t kSize = 9 * kMiB;

std::string patternOf(uint64_t size) {
  std::string bytes(size, '\0');
  for (uint64_t at = 0; at + sizeof at <= size; at += sizeof at) memcpy(bytes.data() + at, &at, sizeof at);
  return bytes;
}

Fd fileOf(std::string_view bytes) {
  Fd file = sys::memoryFile("image", 0).take();
  EXPECT(sys::writeAll(file.get(), bytes.data(), bytes.size()).ok());
  return file;
}

Result<std::unique_ptr<LateBlocks>> makeLate() {
  auto device = sys::openAt(AT_FDCWD, "/dev/userfaultfd", O_RDWR);
  if (!device.ok()) fprintf(stderr, "no /dev/userfaultfd: this test says nothing\n");
  return LateBlocks::create(TRY(std::move(device)));
}

/** Part of a file in a guest's RAM, of which blocks are late where the host can have them so. */
struct Loaded {
  std::string bytes = patternOf(kOffset + kSize);
  Fd file = fileOf(bytes);
  GuestMemory memory;
  std::unique_ptr<LateBlocks> late;
  std::atomic<int> lost = 0;

  explicit Loaded(const MemoryOptions& options = {.sizeBytes = 16 * kMiB})
      : memory(GuestMemory::create(options).take()) {
    auto made = makeLate();
    if (!made.ok()) return;
    late = made.take();
    FileSource source = FileSource::open(sys::duplicate(file.get(), 3).take()).take();
    source.comeBy(late.get());
    EXPECT(source.load(kOffset, memory, kAddress, kSize).ok());
  }
  void start() {
    EXPECT(late->start({{}, [this](int err) { lost = err; }}).ok());
  }
  uint8_t* host() const { return memory.at(kAddress, kSize); }
  bool isThere() const { return memcmp(host(), bytes.data() + kOffset, kSize) == 0; }
};

/** Whether this process has a thread that still has blocks to bring. */
bool brings() {
  DIR* const tasks = opendir("/proc/self/task");
  bool found = false;
  while (const dirent* task = readdir(tasks)) {
    std::string name;
    std::getline(std::ifstream(std::string("/proc/self/task/") + task->d_name + "/comm"), name);
    found = found || name == "late blocks";
  }
  closedir(tasks);
  return found;
}

/** A kernel of which most comes late, with an L 8 MiB behind its first instruction. */
std::string largeImage(std::string code) {
  code.resize(12 * kMiB);
  code[8 * kMiB] = 'L';
  return tinyImage(code);
}

/** Its guest says what lies there. */
std::string farAheadImage() {
  return largeImage({guestReadsFarAhead, guestReadsFarAheadEnd});
}

Result<std::unique_ptr<Machine>> makeLarge(const std::string& image, Fd* file, Fd serial) {
  *file = fileOf(image);
  MachineFiles files;
  files.kvm = TRY(sys::openAt(AT_FDCWD, "/dev/kvm", O_RDWR));
  files.serialOutput = std::move(serial);
  files.late = TRY(makeLate());
  FileSource kernel = TRY(FileSource::open(TRY(sys::duplicate(file->get(), 3))));
  kernel.comeBy(files.late.get());
  files.kernel = &kernel;
  MachineOptions options;
  options.memory.sizeBytes = 16 * kMiB;
  return Machine::create(options, std::move(files));
}

Result<std::unique_ptr<Machine>> readsFarAhead(Fd* file, Fd serial) {
  return makeLarge(farAheadImage(), file, std::move(serial));
}

}  // namespace

TEST(late_blocks_are_what_the_file_has_and_nothing_else_is_touched) {
  Loaded loaded;
  if (loaded.late == nullptr) return;
  // What is no whole block is there before anybody can wait.
  EXPECT(memcmp(loaded.host(), loaded.bytes.data() + kOffset, 4096) == 0);
  loaded.start();
  EXPECT(loaded.isThere());
  EXPECT(loaded.host()[-1] == 0 && loaded.host()[kSize] == 0);
  EXPECT(loaded.lost == 0);
}

TEST(late_blocks_come_for_the_host_s_kernel_too) {
  Loaded loaded;
  if (loaded.late == nullptr) return;
  loaded.start();
  const Fd copy = sys::memoryFile("copy", 0).take();
  EXPECT(write(copy.get(), loaded.host(), kSize) == static_cast<ssize_t>(kSize));
  std::string there(kSize, '\0');
  EXPECT(pread(copy.get(), there.data(), kSize, 0) == static_cast<ssize_t>(kSize));
  EXPECT(there == std::string_view(loaded.bytes).substr(kOffset));
}

TEST(late_blocks_follow_the_first_that_is_touched_and_then_need_no_file) {
  Loaded loaded;
  if (loaded.late == nullptr) return;
  loaded.start();
  EXPECT(loaded.host()[5 * kMiB] == static_cast<uint8_t>(loaded.bytes[kOffset + 5 * kMiB]));
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (brings() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  EXPECT(!brings());
  EXPECT(ftruncate(loaded.file.get(), 0) == 0);
  EXPECT(loaded.isThere());
}

TEST(late_blocks_that_a_file_no_longer_has_are_empty_and_told_of) {
  Loaded loaded;
  if (loaded.late == nullptr) return;
  EXPECT(ftruncate(loaded.file.get(), 4 * kMiB) == 0);
  loaded.start();
  // Whoever waits is let go.
  EXPECT(loaded.host()[8 * kMiB] == 0);
  loaded.late.reset();
  EXPECT(loaded.lost == EBADMSG);
}

TEST(late_blocks_that_nobody_touched_end_with_their_owner) {
  Loaded loaded;
  if (loaded.late == nullptr) return;
  loaded.start();
  loaded.late.reset();
  EXPECT(!brings() && loaded.lost == 0);
  EXPECT(loaded.host()[5 * kMiB] == 0);
}

TEST(late_blocks_are_not_of_memory_that_has_all_its_pages) {
  const Loaded loaded({.sizeBytes = 16 * kMiB, .shared = true});
  if (loaded.late == nullptr) return;
  EXPECT(loaded.isThere());
}

TEST(late_blocks_are_in_a_snapshot) {
  Loaded loaded;
  if (loaded.late == nullptr) return;
  loaded.start();
  const SnapshotFiles files = {sys::memoryFile("state", 0).take(), sys::memoryFile("memory", 0).take()};
  EXPECT(carry(files, loaded.memory.sizeBytes(), [&](const FrameSender& to) -> Status {
           TRY(saveMemory(loaded.memory, {}, to));
           return to.state("x");
         }).ok());
  std::string there(kSize, '\0');
  EXPECT(pread(files.memory.get(), there.data(), kSize, kAddress) == static_cast<ssize_t>(kSize));
  EXPECT(there == std::string_view(loaded.bytes).substr(kOffset));
}

TEST(late_blocks_come_to_a_guest) {
  if (!haveKvm()) return;
  sys::Pair pipe = sys::pipePair().take();
  Fd file;
  auto machine = readsFarAhead(&file, std::move(pipe.right));
  if (!machine.ok()) return EXPECT(machine.error().err == ENOENT);
  auto outcome = machine.value()->run();
  EXPECT(outcome.ok() && outcome.value() == Outcome::poweredOff);
  machine.take().reset();
  char said = 0;
  EXPECT(read(pipe.left.get(), &said, 1) == 1 && said == 'L');
}

TEST(late_blocks_come_to_a_guest_whose_monitor_is_confined) {
  if (!haveKvm()) return;
  auto started = Monitor::start(farAheadImage(), {"--memory-mib", "16"});
  EXPECT(started.ok());
  if (!started.ok()) return;
  EXPECT(started.value().end() == 0);
  char said = 0;
  EXPECT(read(started.value().serial().get(), &said, 1) == 1 && said == 'L');
}

TEST(a_machine_whose_kernel_became_shorter_ends_and_says_so) {
  if (!haveKvm()) return;
  sys::Pair pipe = sys::pipePair().take();
  Fd file;
  auto machine = readsFarAhead(&file, std::move(pipe.right));
  if (!machine.ok()) return EXPECT(machine.error().err == ENOENT);
  EXPECT(ftruncate(file.get(), 2 * kMiB) == 0);
  auto outcome = machine.value()->run();
  EXPECT(outcome.ok() && outcome.value() == Outcome::imageLost);
  EXPECT(machine.value()->ending().detail() == EBADMSG);
}

TEST(a_snapshot_that_finds_its_kernel_shorter_is_none) {
  if (!haveKvm()) return;
  Fd file;
  auto made = makeLarge(largeImage({guestCounts, guestCountsEnd}), &file, sys::memoryFile("serial", 0).take());
  if (!made.ok()) return EXPECT(made.error().err == ENOENT);
  Machine& machine = *made.value();
  std::thread runner([&] {
    auto outcome = machine.run();
    EXPECT(outcome.ok() && outcome.value() == Outcome::imageLost);
  });
  // Its guest touches nothing of what is late.
  while (machine.exits().portWrites == 0) std::this_thread::yield();
  machine.pause();
  EXPECT(ftruncate(file.get(), 2 * kMiB) == 0);
  const SnapshotFiles files = {sys::memoryFile("state", 0).take(), sys::memoryFile("memory", 0).take()};
  const auto taken =
      carry(files, machine.memory().sizeBytes(), [&](const FrameSender& to) { return machine.save(to); });
  EXPECT(!taken.ok() && taken.error().err == ESRCH);
  runner.join();
}

}  // namespace bulkhead::vm
