// Processors that are paused and ended at any instant, in this host's KVM; where there is none, nothing is said.
#include "machine/cpus.h"

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "snapshot_scene.h"
#include "virtio/entropy.h"

#define GUEST(name)             \
  extern "C" const char name[]; \
  extern "C" const char name##End[]
GUEST(guestCounts);
GUEST(guestAddsToNowhere);
GUEST(guestCopiesRegisters);

namespace bulkhead::vm {
namespace {

constexpr int kPauses = 500;

/** Threads of this process that are a guest's processors. */
int processorThreads() {
  int count = 0;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::getline(std::ifstream(thread.path() / "comm"), name);
    count += name.starts_with("vcpu ") ? 1 : 0;
  }
  return count;
}

Result<std::unique_ptr<Running>> makeConfined(uint32_t cpus, Confine confine) {
  const std::string image = tinyImage({guestCounts, static_cast<size_t>(guestCountsEnd - guestCounts)});
  const BytesSource source(image);
  MachineOptions options;
  options.cpus = cpus;
  options.memory.sizeBytes = 2 * layout::kMiB;
  options.confine = std::move(confine);
  MachineFiles files = TRY(filesOf({}));
  files.kernel = &source;
  return std::make_unique<Running>(TRY(Machine::create(options, std::move(files))));
}

}  // namespace

TEST(a_pause_in_the_middle_of_an_instruction_waits_for_all_of_its_accesses) {
  if (!haveKvm()) return;
  auto made = makeRunning({guestAddsToNowhere, guestAddsToNowhereEnd});
  EXPECT(made.ok());
  if (!made.ok()) return;
  Running& running = *made.value();
  running.run();
  int halves = 0;
  for (int round = 0; round < kPauses; ++round) {
    const uint64_t before = running.machine->exits().memoryWrites;
    EXPECT(Running::waits([&] { return running.machine->exits().memoryWrites > before; }));
    running.machine->pause();
    const ExitCounts exits = running.machine->exits();
    halves += exits.memoryReads == exits.memoryWrites ? 0 : 1;
    running.machine->resume();
  }
  EXPECT(halves == 0);
}

TEST(a_string_that_is_copied_from_a_device_is_whole_whenever_it_is_interrupted) {
  if (!haveKvm()) return;
  Devices devices;
  devices.push_back(std::make_unique<Entropy>());
  auto made = makeRunning({guestCopiesRegisters, guestCopiesRegistersEnd}, 1, std::move(devices));
  EXPECT(made.ok());
  if (!made.ok()) return;
  Running& running = *made.value();
  running.run();
  for (int round = 0; round < kPauses; ++round) {
    const bool goesOn = running.counts(running.counter());
    EXPECT(goesOn && running.machine->progress().last() == 0);
    if (!goesOn) return;
    running.machine->pause();
    running.machine->resume();
  }
}

TEST(nothing_of_a_guest_runs_when_its_machine_has_ended) {
  if (!haveKvm()) return;
  auto made = makeRunning({guestCounts, guestCountsEnd}, 2);
  EXPECT(made.ok());
  if (!made.ok()) return;
  Running& running = *made.value();
  running.run();
  EXPECT(running.counts(0));
  running.machine->stop();
  EXPECT(Running::waits([&] { return running.over.load(); }));
  // One that was waited for may be listed for a moment more.
  EXPECT(Running::waits([] { return processorThreads() == 0; }));
}

TEST(a_pause_that_comes_before_all_threads_are_there_waits_for_them) {
  if (!haveKvm()) return;
  for (int round = 0; round < 40; ++round) {
    auto made = makeConfined(16, {});
    EXPECT(made.ok());
    if (!made.ok()) return;
    Running& running = *made.value();
    running.run();
    for (int turn = 0; turn < round; ++turn) std::this_thread::yield();
    running.machine->pause();
    const uint64_t before = running.counter();
    for (int look = 0; look < 1000; ++look) EXPECT(running.counter() == before);
    running.machine->resume();
    EXPECT(running.counts(before));
  }
}

TEST(nobody_waits_for_a_machine_that_could_not_start) {
  if (!haveKvm()) return;
  auto made = makeConfined(
      2, [](ThreadKind kind) { return kind == ThreadKind::loop ? Status(failure("confine", EPERM)) : Status(Done{}); });
  EXPECT(made.ok());
  if (!made.ok()) return;
  std::thread starter([&] {
    const auto ran = made.value()->machine->run();
    EXPECT(!ran.ok() && ran.error().err == EPERM);
  });
  made.value()->machine->pause();
  starter.join();
  made.value()->machine->pause();
}

}  // namespace bulkhead::vm
