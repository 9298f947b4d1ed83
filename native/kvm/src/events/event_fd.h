// An eventfd: how KVM rings at a device, and how a device raises an interrupt.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>

#include "sys/retry.h"

namespace bulkhead::vm {

class EventFd {
 public:
  static Result<EventFd> create() {
    return EventFd(TRY(sys::opened("eventfd", [] { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); })));
  }

  int get() const { return fd_.get(); }
  void signal() const {
    const uint64_t one = 1;
    // It fails only when nobody has read it 2^64 - 2 times, and is signalled then.
    (void)!write(fd_.get(), &one, sizeof one);
  }
  /** True when it was signalled since the last call. */
  bool take() const {
    uint64_t count = 0;
    return read(fd_.get(), &count, sizeof count) == sizeof count;
  }

 private:
  explicit EventFd(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

}  // namespace bulkhead::vm
