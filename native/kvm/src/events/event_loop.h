// The thread that moves data: waits for descriptors and calls whom they concern.
#pragma once

#include <cstdint>
#include <vector>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

/** Called in the loop's thread when a descriptor is ready. */
class Readiness {
 public:
  virtual ~Readiness() = default;
  /** `token` is what the descriptor was watched with: it may have been forgotten a moment ago. */
  virtual void onReady(uint64_t token, uint32_t events) = 0;
};

class EventLoop {
 public:
  /** Tokens are smaller. */
  static constexpr uint64_t kTokenEnd = uint64_t{1} << 48;

  static Result<EventLoop> create();
  /** Before the loop runs; whoever is admitted outlives it. Answers what `watch` wants as `whom`. */
  uint16_t admit(Readiness* whom);
  /**
   * From any thread; level-triggered, `events` as of epoll(7). A descriptor that is watched already is watched anew.
   * @returns EPERM for a regular file, which is always ready
   */
  Status watch(int fd, uint32_t events, uint16_t whom, uint64_t token) const;
  void forget(int fd) const;
  enum class Turn { nothing, served, ended };
  /** Serves what is ready, waiting at most so long for it; -1 is for ever. */
  Result<Turn> turn(int timeoutMs) const;
  /** Until `ended` is readable. */
  Status run(int ended) const;

 private:
  explicit EventLoop(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
  std::vector<Readiness*> admitted_;
};

}  // namespace bulkhead::vm
