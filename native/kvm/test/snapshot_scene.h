// Machines that are taken to files and brought back, for tests.
#pragma once

#include <fcntl.h>
#include <poll.h>

#include <atomic>
#include <thread>

#include "boot/tiny_image.h"
#include "frame_scene.h"
#include "machine/machine.h"
#include "memory/layout.h"
#include "runner.h"
#include "sys/syscalls.h"

extern "C" const char guestCountsTwice[], guestCountsTwiceEnd[];

namespace bulkhead::vm {

static constexpr int kPatienceMs = 20'000;

/** A machine that runs in a thread of its own until it is stopped. */
struct Running {
  std::unique_ptr<Machine> machine;
  std::thread thread;
  /** Its run has returned. */
  std::atomic<bool> over = false;

  explicit Running(std::unique_ptr<Machine> made) : machine(std::move(made)) {}
  void run() {
    thread = std::thread([this] {
      EXPECT(machine->run().ok());
      over = true;
    });
  }
  ~Running() {
    if (!thread.joinable()) return;
    machine->stop();
    thread.join();
  }
  uint64_t counter(uint64_t address = 2 * layout::kMiB - 8) const {
    return __atomic_load_n(reinterpret_cast<const uint64_t*>(machine->memory().at(address, 8)), __ATOMIC_ACQUIRE);
  }
  /** Waits until the guest has counted on. */
  bool counts(uint64_t beyond, uint64_t address = 2 * layout::kMiB - 8) const {
    return waits([&] { return counter(address) > beyond; });
  }
  template <class Condition>
  static bool waits(Condition condition) {
    for (int round = 0; round < kPatienceMs; ++round) {
      if (condition()) return true;
      struct pollfd nothing = {-1, 0, 0};
      poll(&nothing, 1, 1);
    }
    return condition();
  }
};

using Devices = std::vector<std::unique_ptr<Device>>;

static inline bool haveKvm() {
  const auto opened = sys::openAt(AT_FDCWD, "/dev/kvm", O_RDWR);
  if (!opened.ok()) fprintf(stderr, "no /dev/kvm: this test says nothing\n");
  return opened.ok();
}

inline Result<MachineFiles> filesOf(Devices devices) {
  MachineFiles files;
  files.kvm = TRY(sys::openAt(AT_FDCWD, "/dev/kvm", O_RDWR));
  files.serialOutput = TRY(sys::openAt(AT_FDCWD, "/dev/null", O_WRONLY));
  files.devices = std::move(devices);
  return files;
}

inline Result<std::unique_ptr<Running>> makeRunning(std::string_view code, uint32_t cpus = 1, Devices devices = {}) {
  const std::string image = tinyImage(code);
  const BytesSource source(image);
  MachineOptions options;
  options.cpus = cpus;
  options.memory.sizeBytes = 2 * layout::kMiB;
  MachineFiles files = TRY(filesOf(std::move(devices)));
  files.kernel = &source;
  return std::make_unique<Running>(TRY(Machine::create(options, std::move(files))));
}

/** The two files of a snapshot, in memory. */
struct Taken {
  Fd state = sys::memoryFile("state", 0).take();
  Fd memory = sys::memoryFile("memory", 0).take();

  SnapshotFiles files() const {
    return {sys::duplicate(state.get(), 3).take(), sys::duplicate(memory.get(), 3).take()};
  }
  /** Of a machine that is paused. */
  Result<SnapshotReport> take(Machine& machine) const {
    return carry(files(), machine.memory().sizeBytes(), [&](const FrameSender& to) { return machine.save(to); });
  }
  Result<std::unique_ptr<Running>> restore(Devices devices = {}, MachineOptions options = {}) const {
    return std::make_unique<Running>(TRY(Machine::restore(options, TRY(filesOf(std::move(devices))), files())));
  }
};

inline std::string_view guestThatCounts() {
  return {guestCountsTwice, guestCountsTwiceEnd};
}

/** A snapshot of a machine that has counted, and where it was. */
struct Counted {
  Taken taken;
  uint64_t at = 0;
  SnapshotReport report;
};

inline Result<Counted> takeCounting() {
  Counted counted;
  auto running = TRY(makeRunning(guestThatCounts()));
  running->run();
  EXPECT(running->counts(1000));
  running->machine->pause();
  counted.at = running->counter();
  counted.report = TRY(counted.taken.take(*running->machine));
  running->machine->resume();
  return counted;
}

inline std::string contentOf(const Fd& file) {
  std::string bytes(static_cast<size_t>(lseek(file.get(), 0, SEEK_END)), '\0');
  EXPECT(pread(file.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  return bytes;
}

inline void put(const Fd& file, std::string_view bytes) {
  EXPECT(ftruncate(file.get(), 0) == 0);
  EXPECT(pwrite(file.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
}

}  // namespace bulkhead::vm
