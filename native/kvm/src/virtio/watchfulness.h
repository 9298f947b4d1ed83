// Looking at a queue for a moment before its driver is asked to ring.
#pragma once

#include <algorithm>
#include <cstdint>

namespace bulkhead::vm {

/**
 * A doorbell costs the driver's processor an exit and this process a wake-up, so a queue whose next request comes soon
 * is watched instead. How long is learned from the doorbells that ring nevertheless: a queue that is watched in vain is
 * not watched, so that one in which nothing happens costs nothing. Times are CLOCK_MONOTONIC's.
 */
class Watchfulness {
 public:
  /** Below what a doorbell and a wake-up cost together, so that watching in vain costs at most as much again. */
  static constexpr uint64_t kMaxNs = 32'000;
  static constexpr uint64_t kMinNs = 4'000;

  /** The doorbell rang. */
  void rang(uint64_t nowNs) {
    if (restedAtNs_ == 0) return;
    const uint64_t gapNs = nowNs - restedAtNs_;
    if (gapNs > kMaxNs) {
      ns_ = 0;
    } else {
      ns_ = std::min(kMaxNs, std::max(kMinNs, ns_ * 2));
    }
    restedAtNs_ = 0;
  }
  /** Until there is something (true), or for as long as it is worth. `waiting` is asked at least once. */
  template <class Waiting, class Clock>
  bool watch(Waiting waiting, Clock now) {
    const uint64_t beganNs = now();
    do {
      if (waiting()) return true;
      restedAtNs_ = now();
    } while (restedAtNs_ - beganNs < ns_);
    return false;
  }

 private:
  uint64_t ns_ = 0;
  /** 0: nobody has been asked to ring since. */
  uint64_t restedAtNs_ = 0;
};

}  // namespace bulkhead::vm
