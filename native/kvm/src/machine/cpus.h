// The processors of a machine, each in a thread of its own.
#pragma once

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <functional>
#include <latch>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "devices/bus.h"
#include "devices/ending.h"
#include "kvm/vcpu.h"
#include "machine/thread_kind.h"

namespace bulkhead::vm {

/** Whom the processors' exits concern. */
struct Surroundings {
  const Bus* ports;
  const Bus* memory;
  Ending* ending;
};

/** Called in a thread before it serves the guest; empty: it may do whatever the process may. */
using Confine = std::function<Status(ThreadKind)>;

/** Counts of exits to this process; those that KVM answers itself are not among them. */
struct ExitCounts {
  uint64_t portReads = 0;
  uint64_t portWrites = 0;
  uint64_t memoryReads = 0;
  uint64_t memoryWrites = 0;
  /** Accesses to addresses where there is no device. */
  uint64_t unclaimed = 0;
};

/**
 * Runs, pauses and ends vCPU threads. Built with all vCPUs created and set; threads exist from `start` to `finish`.
 * `pause` returns when no processor runs guest code any more and every register is whole, or when they are finished.
 */
class Cpus {
 public:
  /** `pinned`: the host's processor that each is kept on; empty: anywhere. */
  Cpus(std::vector<Vcpu> vcpus, const Surroundings& surroundings, std::vector<uint32_t> pinned);
  Cpus(const Cpus&) = delete;
  Cpus& operator=(const Cpus&) = delete;
  ~Cpus() { finish(); }

  /** Threads that wait for `open`, confined already. */
  Status start(Confine confine);
  /** Lets the guest run. */
  void open();
  bool isOpen() const { return opened_; }
  /** Ends the threads, wherever they are; whoever waits for a pause waits no longer. Again it does nothing. */
  void finish();
  /** From any thread but theirs, like `resume`; before `open` it waits for that. */
  void pause();
  void resume();
  size_t count() const { return slots_.size(); }
  /** While it is paused, or has not begun. */
  const Vcpu& vcpu(size_t index) const { return slots_[index]->vcpu; }
  ExitCounts exits() const;
  /** Of all processors; nothing where KVM does not count them. */
  std::optional<uint64_t> hypercalls() const;

 private:
  enum class Want { run, pause, end };
  struct Slot {
    Vcpu vcpu;
    Cpus* owner;
    size_t number;
    /** Under the owner's lock, as is `started`. */
    pthread_t thread = {};
    bool started = false;
    std::atomic<uint64_t> portReads = 0, portWrites = 0, memoryReads = 0, memoryWrites = 0, unclaimed = 0;
    Slot(Vcpu taken, Cpus* of, size_t index) : vcpu(std::move(taken)), owner(of), number(index) {}
  };

  static void* enter(void* slot);
  void loop(Slot* slot);
  bool proceed(Slot* slot);
  void rest(Slot* slot);
  void settle(Slot* slot);
  void handle(Slot* slot);
  void handlePort(Slot* slot);
  void handleMemory(Slot* slot);
  void want(Want wanted);

  Surroundings surroundings_;
  std::vector<uint32_t> pinned_;
  Confine confine_;
  std::latch gate_{1};
  std::atomic<bool> opened_ = false;
  std::vector<std::unique_ptr<Slot>> slots_;
  std::atomic<Want> want_ = Want::run;
  std::mutex lock_;
  std::condition_variable changed_;
  /** Threads that wait, or ended. */
  size_t resting_ = 0;
};

}  // namespace bulkhead::vm
