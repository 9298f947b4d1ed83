// The thread that moves data: waits for descriptors and calls whom they concern.
#pragma once

#include <cstdint>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

/** Called in the loop's thread when its descriptor is ready. */
class Readiness {
 public:
  virtual ~Readiness() = default;
  virtual void onReady(uint32_t events) = 0;
};

class EventLoop {
 public:
  static Result<EventLoop> create();
  /** Level-triggered; `events` as of epoll(7). EPERM: a regular file, which is always ready. */
  Status watch(int fd, uint32_t events, Readiness* whom) const;
  void forget(int fd) const;
  /** Until `ended` is readable. */
  Status run(int ended) const;

 private:
  explicit EventLoop(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

}  // namespace bulkhead::vm
