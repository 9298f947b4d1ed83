// Whole machines that are taken to files and go on from them, in this host's KVM; where there is none, nothing is said.
#include "snapshot/machine_state.h"

#include "snapshot_scene.h"
#include "virtio/entropy.h"

#define GUEST(name)             \
  extern "C" const char name[]; \
  extern "C" const char name##End[]
GUEST(guestCountsOnTwo);
GUEST(guestAsksForEver);
GUEST(guestWaitsForGeneration);

namespace bulkhead::vm {
namespace {

Devices oneEntropy() {
  Devices devices;
  devices.push_back(std::make_unique<Entropy>());
  return devices;
}

std::array<uint8_t, 16> generationOf(const Machine& machine) {
  std::array<uint8_t, 16> id = {};
  EXPECT(machine.memory().read(layout::kGenerationId, &id));
  return id;
}

}  // namespace

TEST(a_counter_goes_on_exactly_where_it_was) {
  if (!haveKvm()) return;
  auto counted = takeCounting();
  EXPECT(counted.ok());
  if (!counted.ok()) return;
  const SnapshotReport& report = counted.value().report;
  EXPECT(report.memoryBytes == 2 * layout::kMiB && report.durationNs > 0);
  EXPECT(report.stateBytes == contentOf(counted.value().taken.state).size());
  auto restored = counted.value().taken.restore();
  EXPECT(restored.ok());
  if (!restored.ok()) return;
  Running& copy = *restored.value();
  EXPECT(copy.counter() == counted.value().at);
  copy.run();
  EXPECT(copy.counts(counted.value().at + 1000));
  EXPECT(copy.machine->progress().last() == 0);
}

TEST(a_machine_goes_on_after_its_snapshot) {
  if (!haveKvm()) return;
  auto running = makeRunning(guestThatCounts());
  EXPECT(running.ok());
  if (!running.ok()) return;
  Running& machine = *running.value();
  machine.run();
  EXPECT(machine.counts(0));
  for (int round = 0; round < 5; ++round) {
    const Taken taken;
    machine.machine->pause();
    const uint64_t at = machine.counter();
    EXPECT(taken.take(*machine.machine).ok());
    EXPECT(machine.counter() == at);
    machine.machine->resume();
    EXPECT(machine.counts(at));
  }
  EXPECT(machine.machine->progress().last() == 0);
}

TEST(copies_of_one_snapshot_share_its_file_and_nothing_else) {
  if (!haveKvm()) return;
  auto counted = takeCounting();
  EXPECT(counted.ok());
  if (!counted.ok()) return;
  const Taken& taken = counted.value().taken;
  const std::string before = contentOf(taken.memory);
  auto one = taken.restore();
  auto other = taken.restore();
  EXPECT(one.ok() && other.ok());
  if (!one.ok() || !other.ok()) return;
  one.value()->run();
  EXPECT(one.value()->counts(counted.value().at + 100));
  EXPECT(other.value()->counter() == counted.value().at);
  other.value()->run();
  EXPECT(other.value()->counts(counted.value().at + 100));
  EXPECT(generationOf(*one.value()->machine) != generationOf(*other.value()->machine));
  EXPECT(contentOf(taken.memory) == before);
}

TEST(a_copy_of_a_copy_is_one_too) {
  if (!haveKvm()) return;
  auto counted = takeCounting();
  EXPECT(counted.ok());
  if (!counted.ok()) return;
  const Taken again;
  uint64_t at = 0;
  {
    auto copy = counted.value().taken.restore();
    EXPECT(copy.ok());
    if (!copy.ok()) return;
    copy.value()->run();
    EXPECT(copy.value()->counts(counted.value().at + 100));
    copy.value()->machine->pause();
    at = copy.value()->counter();
    EXPECT(again.take(*copy.value()->machine).ok());
    copy.value()->machine->resume();
  }
  auto copy = again.restore();
  EXPECT(copy.ok());
  if (!copy.ok()) return;
  EXPECT(copy.value()->counter() == at);
  copy.value()->run();
  EXPECT(copy.value()->counts(at));
}

TEST(memory_that_is_locked_is_there_at_once) {
  if (!haveKvm()) return;
  auto counted = takeCounting();
  EXPECT(counted.ok());
  if (!counted.ok()) return;
  MachineOptions options;
  options.memory.locked = true;
  auto restored = counted.value().taken.restore({}, options);
  EXPECT(restored.ok());
  if (!restored.ok()) return;
  // All of it is this machine's own: the file may go.
  EXPECT(ftruncate(counted.value().taken.memory.get(), 0) == 0);
  EXPECT(restored.value()->counter() == counted.value().at);
  restored.value()->run();
  EXPECT(restored.value()->counts(counted.value().at));
}

TEST(every_processor_goes_on) {
  if (!haveKvm()) return;
  constexpr uint64_t kSecond = 0x3000;
  const Taken taken;
  uint64_t first = 0;
  uint64_t second = 0;
  {
    auto running = makeRunning({guestCountsOnTwo, guestCountsOnTwoEnd}, 2);
    EXPECT(running.ok());
    if (!running.ok()) return;
    running.value()->run();
    EXPECT(running.value()->counts(100) && running.value()->counts(100, kSecond));
    running.value()->machine->pause();
    first = running.value()->counter();
    second = running.value()->counter(kSecond);
    EXPECT(taken.take(*running.value()->machine).ok());
    running.value()->machine->resume();
  }
  auto restored = taken.restore();
  EXPECT(restored.ok());
  if (!restored.ok()) return;
  EXPECT(restored.value()->counter() == first && restored.value()->counter(kSecond) == second);
  restored.value()->run();
  EXPECT(restored.value()->counts(first) && restored.value()->counts(second, kSecond));
}

TEST(a_request_under_way_is_finished_in_every_copy) {
  if (!haveKvm()) return;
  auto running = makeRunning({guestAsksForEver, guestAsksForEverEnd}, 1, oneEntropy());
  EXPECT(running.ok());
  if (!running.ok()) return;
  Running& machine = *running.value();
  machine.run();
  uint64_t at = 0;
  for (int round = 0; round < 20; ++round) {
    EXPECT(machine.counts(at + static_cast<uint64_t>(round)));
    const Taken taken;
    machine.machine->pause();
    at = machine.counter();
    EXPECT(taken.take(*machine.machine).ok());
    machine.machine->resume();
    auto restored = taken.restore(oneEntropy());
    EXPECT(restored.ok());
    if (!restored.ok()) return;
    restored.value()->run();
    EXPECT(restored.value()->counts(at + 10));
    EXPECT(restored.value()->machine->transports()[0]->counts().faults == 0);
  }
}

TEST(a_guest_hears_that_its_generation_is_another) {
  if (!haveKvm()) return;
  const Taken taken;
  std::array<uint8_t, 16> original;
  {
    auto running = makeRunning({guestWaitsForGeneration, guestWaitsForGenerationEnd});
    EXPECT(running.ok());
    if (!running.ok()) return;
    running.value()->run();
    EXPECT(running.value()->counts(10));
    running.value()->machine->pause();
    original = generationOf(*running.value()->machine);
    EXPECT((original != std::array<uint8_t, 16>{}));
    EXPECT(taken.take(*running.value()->machine).ok());
    running.value()->machine->resume();
    // It is the copy that is another.
    EXPECT(running.value()->counts(running.value()->counter() + 10));
    EXPECT(running.value()->machine->progress().last() == 1);
  }
  auto restored = taken.restore();
  EXPECT(restored.ok());
  if (!restored.ok()) return;
  EXPECT(generationOf(*restored.value()->machine) != original);
  restored.value()->run();
  EXPECT(Running::waits([&] { return restored.value()->machine->progress().last() == 0x77; }));
}

TEST(a_copy_has_the_caches_of_its_original_on_whichever_core_it_is_made) {
  if (!haveKvm()) return;
  auto counted = takeCounting();
  EXPECT(counted.ok());
  if (!counted.ok()) return;
  const Taken& taken = counted.value().taken;
  MachineState state = MachineState::open(contentOf(taken.state)).take();
  size_t caches = 0;
  for (kvm_cpuid_entry2& entry : state.cpuid) {
    if (entry.function != 4 && entry.function != 0x8000001d) continue;
    entry.ecx = 0x1234;
    ++caches;
  }
  EXPECT(caches > 0);
  put(taken.state, state.seal());
  auto copy = taken.restore();
  EXPECT(copy.ok());
  if (!copy.ok()) return;
  const Taken again;
  EXPECT(again.take(*copy.value()->machine).ok());
  for (const kvm_cpuid_entry2& entry : MachineState::open(contentOf(again.state)).take().cpuid) {
    if (entry.function == 4 || entry.function == 0x8000001d) caches -= entry.ecx == 0x1234 ? 1 : 0;
  }
  EXPECT(caches == 0 && again.restore().ok());
}

TEST(a_machine_with_other_devices_is_another_machine) {
  if (!haveKvm()) return;
  auto counted = takeCounting();
  EXPECT(counted.ok());
  if (!counted.ok()) return;
  auto restored = counted.value().taken.restore(oneEntropy());
  EXPECT(!restored.ok() && restored.error().err == EINVAL);
  MachineOptions options;
  options.pinned = {0, 1};
  restored = counted.value().taken.restore({}, options);
  EXPECT(!restored.ok() && restored.error().err == EINVAL);
}

}  // namespace bulkhead::vm
