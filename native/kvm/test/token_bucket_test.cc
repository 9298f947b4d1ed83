// Rates, by a clock that the test moves.
#include "events/token_bucket.h"

#include "runner.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

/** How many of `amount` each are taken in `durationNs`, by someone who waits exactly as long as it says. */
uint64_t takenIn(TokenBucket bucket, uint64_t durationNs, uint64_t amount) {
  uint64_t count = 0;
  uint64_t now = kSecond;
  const uint64_t end = now + durationNs;
  for (;;) {
    if (!bucket.ready(now)) now = bucket.readyAtNs();
    if (now >= end) return count;
    bucket.take(amount, now);
    ++count;
  }
}

}  // namespace

TEST(bucket_without_a_rate_is_always_ready) {
  TokenBucket bucket{Rate{}};
  bucket.take(~uint64_t{0}, 0);
  EXPECT(bucket.ready(0));
}

TEST(bucket_keeps_its_rate_exactly) {
  for (const uint64_t rate : {7u, 1000u, 333'333u}) {
    const uint64_t taken = takenIn(TokenBucket({rate, 7}), 10 * kSecond, 1);
    EXPECT_THAT(taken >= 10 * rate && taken <= 10 * rate + 7, std::to_string(taken));
  }
  // Requests larger than the bucket happen, and are paid for.
  const uint64_t large = takenIn(TokenBucket({1000, 10}), 10 * kSecond, 500);
  EXPECT_THAT(large >= 20 && large <= 21, std::to_string(large));
}

TEST(bucket_allows_its_burst_and_no_more) {
  TokenBucket bucket({10, 5});
  int count = 0;
  for (; bucket.ready(kSecond); ++count) bucket.take(1, kSecond);
  EXPECT(count == 5);
  EXPECT(!bucket.ready(kSecond + kSecond / 20) && bucket.ready(kSecond + kSecond / 10 + 1));
  // A long pause fills it, and not above its edge.
  for (count = 0; bucket.ready(100 * kSecond); ++count) bucket.take(1, 100 * kSecond);
  EXPECT(count == 5);
}

TEST(bucket_survives_amounts_and_rates_at_their_ends) {
  TokenBucket slow({1, 1});
  slow.take(~uint64_t{0}, kSecond);
  EXPECT(!slow.ready(~uint64_t{0} / 2));
  TokenBucket fast({~uint64_t{0}, ~uint64_t{0}});
  fast.take(~uint64_t{0} / 2, kSecond);
  EXPECT(fast.ready(kSecond));
}

}  // namespace bulkhead::vm
