// Limits on what a device moves for its guest.
#pragma once

#include "events/token_bucket.h"
#include "virtio/device.h"

namespace bulkhead::vm {

struct RateLimits {
  Rate operations;
  Rate bytes;
};

/** Two buckets and a timer that rings at the instant, and only then, at which what was declined may happen. */
class RateLimit {
 public:
  static Result<RateLimit> create(const RateLimits& limits);

  bool limited() const { return operations_.limited() || bytes_.limited(); }
  /** Takes one operation of so many bytes; false when it is not its time yet, and the timer is set then. */
  bool admit(uint64_t bytes);
  /** `token` comes back when the timer rings; `rang` has to be called then. */
  Status watch(Carrier* carrier, uint64_t token) const;
  void forget(Carrier* carrier) const { carrier->forget(timer_.get()); }
  void rang() const;

 private:
  RateLimit(const RateLimits& limits, Fd timer)
      : operations_(limits.operations), bytes_(limits.bytes), timer_(std::move(timer)) {}

  TokenBucket operations_;
  TokenBucket bytes_;
  Fd timer_;
};

}  // namespace bulkhead::vm
