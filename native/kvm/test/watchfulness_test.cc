// How long a queue is watched, by a clock of the test's.
#include "virtio/watchfulness.h"

#include "runner.h"

namespace bulkhead::vm {
namespace {

struct Watched {
  Watchfulness watchfulness;
  uint64_t nowNs = 1'000'000;

  /** For how long it is watched in vain, in microseconds: the clock goes on by one with every look. */
  uint64_t inVain() {
    const uint64_t beganNs = nowNs;
    watchfulness.watch([] { return false; }, [&] { return nowNs += 1'000; });
    return (nowNs - beganNs) / 1'000 - 1;
  }
  void rangAfter(uint64_t gapNs) { watchfulness.rang(nowNs += gapNs); }
};

}  // namespace

TEST(watchfulness_costs_one_look_where_nothing_comes_soon) {
  Watched watched;
  EXPECT(watched.inVain() == 1);
  watched.rangAfter(Watchfulness::kMaxNs + 1);
  EXPECT(watched.inVain() == 1);
}

TEST(watchfulness_grows_while_doorbells_come_soon_and_ends_when_they_do_not) {
  Watched watched;
  for (const uint64_t us : {1, 4, 8, 16, 32, 32}) {
    EXPECT(watched.inVain() == us);
    watched.rangAfter(20'000);
  }
  watched.inVain();
  watched.rangAfter(1'000'000);
  EXPECT(watched.inVain() == 1);
}

TEST(watchfulness_ends_with_what_it_waits_for) {
  Watched watched;
  watched.inVain();
  watched.rangAfter(1'000);
  int looks = 0;
  EXPECT(watched.watchfulness.watch([&] { return ++looks == 3; }, [&] { return watched.nowNs += 1'000; }));
  EXPECT(looks == 3);
}

TEST(watchfulness_takes_no_doorbell_twice) {
  Watched watched;
  watched.inVain();
  watched.rangAfter(1'000);
  watched.rangAfter(1'000'000);
  EXPECT(watched.inVain() == 4);
}

}  // namespace bulkhead::vm
