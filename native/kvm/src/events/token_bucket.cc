#include "events/token_bucket.h"

#include <algorithm>

namespace bulkhead::vm {

TokenBucket::TokenBucket(const Rate& rate) : perSecond_(rate.perSecond) {
  if (!limited()) return;
  const uint64_t tenth = std::max<uint64_t>(rate.perSecond / 10, 1);
  onePs_ = duration(1);
  burstPs_ = duration(rate.burst == 0 ? tenth : rate.burst);
}

void TokenBucket::take(uint64_t amount, uint64_t nowNs) {
  if (limited()) fullAtPs_ = std::max(fullAtPs_, toPs(nowNs)) + duration(amount);
}

TokenBucket::Picoseconds TokenBucket::duration(uint64_t amount) const {
  constexpr Picoseconds kSecond = 1'000'000'000'000;
  return static_cast<Picoseconds>(amount) * kSecond / perSecond_;
}

}  // namespace bulkhead::vm
