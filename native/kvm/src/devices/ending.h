// Why a machine no longer runs. The first reason is the reason.
#pragma once

#include <atomic>
#include <cstdint>

#include "events/event_fd.h"

namespace bulkhead::vm {

enum class Outcome : uint32_t {
  running = 0,
  /** The guest switched its machine off. */
  poweredOff,
  /** The guest asked for a reset; nothing of it is left but its disks. */
  reset,
  /** A fault while handling a fault while handling a fault. */
  tripleFault,
  /** KVM cannot carry out the guest's next instruction. */
  notEmulated,
  /** KVM refuses the processor's state, or KVM_RUN failed. */
  cpuFailed,
  /** Somebody on the host asked for it. */
  stopped,
  /** The guest's kernel said that it cannot go on. */
  panicked,
  /** A file that its RAM was still to come from became shorter, or cannot be read. */
  imageLost,
};

/** Stable name, as in reports. */
const char* nameOf(Outcome outcome);

/** Set by any thread; `fd` becomes readable. */
class Ending {
 public:
  static Result<Ending> create() { return Ending(TRY(EventFd::create())); }
  Ending(Ending&& other) noexcept : event_(std::move(other.event_)) {}

  void end(Outcome outcome, uint64_t detail = 0) {
    if (claimed_.exchange(true)) return;
    detail_ = detail;
    outcome_ = outcome;
    event_.signal();
  }
  Outcome outcome() const { return outcome_.load(); }
  /** For `notEmulated` KVM's suberror, for `cpuFailed` the hardware's reason or errno, for `imageLost` errno. */
  uint64_t detail() const { return detail_; }
  int fd() const { return event_.get(); }

 private:
  explicit Ending(EventFd event) : event_(std::move(event)) {}

  EventFd event_;
  std::atomic<bool> claimed_ = false;
  std::atomic<uint64_t> detail_ = 0;
  std::atomic<Outcome> outcome_ = Outcome::running;
};

}  // namespace bulkhead::vm
