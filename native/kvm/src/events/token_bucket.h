// How much may happen, and when more may.
#pragma once

#include <cstdint>

namespace bulkhead::vm {

struct Rate {
  /** 0 is no limit. */
  uint64_t perSecond = 0;
  /** What may happen at once after a pause; 0 is what may happen in a tenth of a second. */
  uint64_t burst = 0;
};

/**
 * Something may happen whenever there is a token, and may leave the bucket in debt, so that requests larger than the
 * bucket happen too; in the long run the rate is kept exactly. Kept as the instant at which the bucket will be full.
 */
class TokenBucket {
 public:
  TokenBucket() = default;
  explicit TokenBucket(const Rate& rate);

  bool limited() const { return perSecond_ != 0; }
  bool ready(uint64_t nowNs) const { return !limited() || readyAtPs() <= toPs(nowNs); }
  void take(uint64_t amount, uint64_t nowNs);
  /** The first instant at which it is ready, if nothing is taken. */
  uint64_t readyAtNs() const { return readyAtPs() <= 0 ? 0 : static_cast<uint64_t>((readyAtPs() + 999) / 1000); }

 private:
  // Picoseconds in 128 bits: no rate and no amount of 64 bits overflows or loses a part that adds up.
  using Picoseconds = __int128;
  static Picoseconds toPs(uint64_t ns) { return static_cast<Picoseconds>(ns) * 1000; }
  Picoseconds duration(uint64_t amount) const;
  Picoseconds readyAtPs() const { return fullAtPs_ - burstPs_ + onePs_; }

  uint64_t perSecond_ = 0;
  Picoseconds burstPs_ = 0;
  Picoseconds onePs_ = 0;
  Picoseconds fullAtPs_ = 0;
};

}  // namespace bulkhead::vm
