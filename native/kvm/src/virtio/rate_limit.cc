#include "virtio/rate_limit.h"

#include <sys/epoll.h>
#include <sys/timerfd.h>

#include <algorithm>

#include "events/clock.h"
#include "sys/retry.h"

namespace bulkhead::vm {

Result<RateLimit> RateLimit::create(const RateLimits& limits) {
  Fd timer =
      TRY(sys::opened("timerfd_create", [] { return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK); }));
  return RateLimit(limits, std::move(timer));
}

bool RateLimit::admit(uint64_t bytes) {
  if (!limited()) return true;
  const uint64_t now = monotonicNs();
  if (operations_.ready(now) && bytes_.ready(now)) {
    operations_.take(1, now);
    bytes_.take(bytes, now);
    return true;
  }
  constexpr uint64_t kSecond = 1'000'000'000;
  // An instant of 0 would stop the timer instead of setting it.
  const uint64_t when = std::max<uint64_t>({operations_.readyAtNs(), bytes_.readyAtNs(), 1});
  const struct itimerspec at = {{0, 0}, {static_cast<time_t>(when / kSecond), static_cast<long>(when % kSecond)}};
  // It fails only for times that are none.
  timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &at, nullptr);
  return false;
}

Status RateLimit::watch(Carrier* carrier, uint64_t token) const {
  return carrier->watch(timer_.get(), EPOLLIN, token);
}

void RateLimit::rang() const {
  uint64_t times = 0;
  (void)!read(timer_.get(), &times, sizeof times);
}

}  // namespace bulkhead::vm
