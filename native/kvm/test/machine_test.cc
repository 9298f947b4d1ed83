// Whole machines, in this host's KVM; where there is none, what is said then.
#include "machine/machine.h"

#include <fcntl.h>
#include <sys/mman.h>

#include <cerrno>
#include <thread>

#include "boot/tiny_image.h"
#include "machine/self_test.h"
#include "memory/layout.h"
#include "runner.h"
#include "sys/syscalls.h"
#include "virtio/balloon.h"
#include "virtio/entropy.h"

#define GUEST(name)             \
  extern "C" const char name[]; \
  extern "C" const char name##End[]
GUEST(guestEchoesCommandLine);
GUEST(guestCounts);
GUEST(guestResets);
GUEST(guestPanics);
GUEST(guestFaultsThrice);
GUEST(guestReachesNowhere);
GUEST(guestUsesOneQueue);

namespace bulkhead::vm {
namespace {

bool haveKvm() {
  const auto opened = sys::openAt(AT_FDCWD, "/dev/kvm", O_RDWR);
  if (!opened.ok()) fprintf(stderr, "no /dev/kvm: this test says nothing\n");
  return opened.ok();
}

struct Made {
  std::unique_ptr<Machine> machine;
  /** What the guest writes to its serial port. */
  Fd serial;
};

Result<Made> make(std::string_view code, MachineOptions options, std::vector<std::unique_ptr<Device>> devices = {}) {
  const std::string image = tinyImage(code);
  const BytesSource source(image);
  options.memory.sizeBytes = 2 * layout::kMiB;
  sys::Pair pipe = TRY(sys::pipePair());
  MachineFiles files;
  files.kvm = TRY(sys::openAt(AT_FDCWD, "/dev/kvm", O_RDWR));
  files.kernel = &source;
  files.serialOutput = std::move(pipe.right);
  files.devices = std::move(devices);
  auto machine = TRY(Machine::create(options, std::move(files)));
  return Made{std::move(machine), std::move(pipe.left)};
}

/** How a machine ends that runs `code`. */
Outcome outcomeOf(std::string_view code) {
  auto made = make(code, {});
  EXPECT(made.ok());
  if (!made.ok()) return Outcome::running;
  auto outcome = made.value().machine->run();
  EXPECT(outcome.ok());
  return outcome.ok() ? outcome.value() : Outcome::running;
}

uint64_t counterOf(const Machine& machine) {
  return __atomic_load_n(reinterpret_cast<const uint64_t*>(machine.memory().at(2 * layout::kMiB - 8, 8)),
                         __ATOMIC_ACQUIRE);
}

}  // namespace

TEST(machine_s_memory_has_a_descriptor_only_where_others_serve_a_device) {
  if (!haveKvm()) return;
  class ServedElsewhere : public Entropy {
    bool servedElsewhere() const override { return true; }
  };
  for (const bool elsewhere : {false, true}) {
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::make_unique<Entropy>());
    if (elsewhere) devices.push_back(std::make_unique<ServedElsewhere>());
    auto made = make({guestCounts, guestCountsEnd}, {}, std::move(devices));
    EXPECT(made.ok() && made.value().machine->memory().file().valid() == elsewhere);
  }
}

TEST(machine_boots_with_a_command_line_and_writes_to_its_serial_port) {
  if (!haveKvm()) return;
  MachineOptions options;
  options.commandLine = "root=none quiet";
  auto made = make({guestEchoesCommandLine, guestEchoesCommandLineEnd}, options);
  EXPECT(made.ok());
  if (!made.ok()) return;
  auto outcome = made.value().machine->run();
  EXPECT(outcome.ok() && outcome.value() == Outcome::poweredOff);
  EXPECT(made.value().machine->exits().portWrites == options.commandLine.size() + 1);
  made.value().machine.reset();
  char said[64] = {};
  EXPECT(sys::readSome(made.value().serial.get(), said, sizeof said - 1).ok());
  EXPECT_TEXT(said, options.commandLine);
}

TEST(machine_outlives_whoever_reads_its_serial_port) {
  if (!haveKvm()) return;
  MachineOptions options;
  options.commandLine = "one\ntwo\n";
  auto made = make({guestEchoesCommandLine, guestEchoesCommandLineEnd}, options);
  EXPECT(made.ok());
  if (!made.ok()) return;
  made.value().serial.reset();
  auto outcome = made.value().machine->run();
  EXPECT(outcome.ok() && outcome.value() == Outcome::poweredOff);
}

TEST(machine_ends_as_its_guest_does) {
  if (!haveKvm()) return;
  EXPECT(outcomeOf({guestResets, guestResetsEnd}) == Outcome::reset);
  EXPECT(outcomeOf({guestPanics, guestPanicsEnd}) == Outcome::panicked);
  EXPECT(outcomeOf({guestFaultsThrice, guestFaultsThriceEnd}) == Outcome::tripleFault);
}

TEST(machine_answers_accesses_to_nowhere) {
  if (!haveKvm()) return;
  auto made = make({guestReachesNowhere, guestReachesNowhereEnd}, {});
  EXPECT(made.ok());
  if (!made.ok()) return;
  auto outcome = made.value().machine->run();
  EXPECT(outcome.ok() && outcome.value() == Outcome::reset);
  EXPECT(made.value().machine->progress().last() == 0x55);
  EXPECT(made.value().machine->exits().unclaimed >= 5);
}

TEST(machine_serves_a_queue_without_an_exit_for_its_doorbell) {
  if (!haveKvm()) return;
  std::vector<std::unique_ptr<Device>> devices;
  devices.push_back(std::make_unique<Entropy>());
  auto made = make({guestUsesOneQueue, guestUsesOneQueueEnd}, {}, std::move(devices));
  EXPECT(made.ok());
  if (!made.ok()) return;
  Machine& machine = *made.value().machine;
  auto outcome = machine.run();
  EXPECT(outcome.ok() && outcome.value() == Outcome::poweredOff);
  EXPECT(machine.progress().last() == 1);
  const TransportCounts counts = machine.transports()[0]->counts();
  EXPECT(counts.doorbells > 0 && counts.interrupts == 1 && counts.faults == 0);
  // Twelve registers were written; the doorbell is none of them.
  EXPECT(machine.exits().memoryWrites == 12);
  EXPECT(memcmp(machine.memory().at(0x183000, 16), machine.memory().at(0x184000, 16), 16) != 0);
}

TEST(machine_has_places_for_so_many_devices) {
  if (!haveKvm()) return;
  for (const uint32_t count : {layout::kMaxVirtioDevices, layout::kMaxVirtioDevices + 1}) {
    std::vector<std::unique_ptr<Device>> devices;
    for (uint32_t index = 0; index < count; ++index) devices.push_back(std::make_unique<Entropy>());
    EXPECT(make({guestResets, guestResetsEnd}, {}, std::move(devices)).ok() == (count == layout::kMaxVirtioDevices));
  }
}

TEST(machine_that_is_locked_has_no_balloon) {
  if (!haveKvm()) return;
  for (const bool locked : {false, true}) {
    std::vector<std::unique_ptr<Device>> devices;
    devices.push_back(std::make_unique<Balloon>(0));
    MachineOptions options;
    options.memory.locked = locked;
    auto made = make({guestResets, guestResetsEnd}, options, std::move(devices));
    EXPECT(made.ok() != locked && (!locked || made.error().err == EINVAL));
  }
}

TEST(machine_stands_still_while_paused_and_goes_on) {
  if (!haveKvm()) return;
  MachineOptions options;
  options.cpus = 2;
  auto made = make({guestCounts, guestCountsEnd}, options);
  EXPECT(made.ok());
  if (!made.ok()) return;
  Machine& machine = *made.value().machine;
  Outcome outcome = Outcome::running;
  std::thread runner([&] {
    auto ran = machine.run();
    if (ran.ok()) outcome = ran.value();
  });
  while (counterOf(machine) == 0) std::this_thread::yield();
  for (int round = 0; round < 50; ++round) {
    machine.pause();
    const uint64_t before = counterOf(machine);
    for (int look = 0; look < 1000; ++look) EXPECT(counterOf(machine) == before);
    machine.resume();
    while (counterOf(machine) == before) std::this_thread::yield();
  }
  machine.stop();
  runner.join();
  EXPECT(outcome == Outcome::stopped);
}

TEST(machine_that_cannot_be_made_says_why) {
  MachineFiles files;
  const BytesSource none{{}};
  files.kernel = &none;
  files.kvm = sys::openAt(AT_FDCWD, "/dev/null", O_RDWR).take();
  auto made = Machine::create({}, std::move(files));
  EXPECT(!made.ok() && made.error().err == ENOTTY);
  MachineOptions options;
  options.cpus = kMaxCpus + 1;
  made = Machine::create(options, {});
  EXPECT(!made.ok() && made.error().err == EINVAL);
}

TEST(self_test_tells_what_the_host_can_do) {
  if (!haveKvm()) return;
  const SelfTest test = selfTest(sys::openAt(AT_FDCWD, "/dev/kvm", O_RDWR).take());
  EXPECT(test.level == (test.virtualization ? KvmLevel::kvm : KvmLevel::emulated));
  EXPECT((test.reason == KvmReason::ok) == test.virtualization);
  EXPECT(test.picosecondsPerInstruction > 0);
  const SelfTest none = selfTest(sys::openAt(AT_FDCWD, "/dev/null", O_RDWR).take());
  EXPECT(none.level == KvmLevel::none && none.reason == KvmReason::unusable);
  EXPECT_TEXT(none.error.op, "KVM_GET_API_VERSION");
}

}  // namespace bulkhead::vm
