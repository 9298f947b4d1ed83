// Buffers taken ahead: what is used is given back in order, and what is not stays with the driver.
#include "virtio/gathered.h"

#include "driver.h"
#include "runner.h"
#include "virtio/entropy.h"

namespace bulkhead::vm {
namespace {

/** A queue of a driver's requests, each of one buffer, that no device serves. */
struct Ahead {
  Driver driver{std::make_unique<Entropy>()};
  Queue queue;

  explicit Ahead(const std::vector<uint32_t>& sizes) {
    driver.begin();
    driver.setUpQueue(0);
    const QueueSetup setup = {Driver::kQueueSize, true, Driver::descriptors(0), Driver::available(0), Driver::used(0)};
    queue = Queue::attach(setup, driver.memory, false).take();
    uint64_t address = Driver::kData;
    for (uint16_t index = 0; index < sizes.size(); ++index) {
      driver.add(0, {{address, sizes[index], true}}, index);
      address += sizes[index];
    }
  }
};

}  // namespace

TEST(gathered_gives_back_only_what_is_filled) {
  Ahead ahead({100, 200, 300});
  {
    Gathered gathered(&ahead.queue);
    EXPECT(gathered.reach(250).take());
    EXPECT(gathered.pieces().count == 2 && gathered.countFor(100) == 1 && gathered.countFor(101) == 2);
    EXPECT(gathered.write(98, "ab", 2) && !gathered.write(99, "ab", 2));
    EXPECT(ahead.driver.get(Driver::kData + 98, 2) == "ab");
    gathered.give(60);
    EXPECT(ahead.driver.usedCount(0) == 1 && ahead.driver.usedAt(0, 0).sizeBytes == 60);
    EXPECT(gathered.reach(500).take() && gathered.pieces().count == 2);
    gathered.give(201);
    EXPECT(ahead.driver.usedCount(0) == 3 && ahead.driver.usedAt(0, 1).sizeBytes == 200);
    EXPECT(ahead.driver.usedAt(0, 2).head == 2 && ahead.driver.usedAt(0, 2).sizeBytes == 1);
    EXPECT(!gathered.reach(1).take());
  }
  EXPECT(!ahead.queue.waiting());
}

TEST(gathered_leaves_the_rest_with_the_driver) {
  Ahead ahead({100, 200, 300});
  Chain chain;
  {
    Gathered gathered(&ahead.queue);
    EXPECT(!gathered.reach(601).take() && gathered.reach(600).take());
    gathered.give(100);
  }
  EXPECT(ahead.queue.pop(&chain).take() && chain.head() == 1);
  EXPECT(ahead.queue.pop(&chain).take() && chain.head() == 2);
  EXPECT(!ahead.queue.pop(&chain).take());
}

TEST(gathered_tells_of_a_driver_that_lies) {
  Ahead ahead({100});
  ahead.driver.describe(0, 1, {layout::kGiB, 100, true});
  ahead.driver.publish(0, 1);
  Gathered gathered(&ahead.queue);
  EXPECT(gathered.reach(200).error().err == EPROTO);
}

TEST(gathered_takes_no_more_pieces_than_one_call_moves) {
  Ahead ahead({});
  // Sixteen chains of one descriptor table, each through all of it.
  for (uint16_t index = 0; index < Driver::kQueueSize; ++index) {
    ahead.driver.describe(0, index, {Driver::kData, 1, true}, index + 1 < Driver::kQueueSize ? index + 1 : -1);
  }
  for (uint16_t turn = 0; turn < Driver::kQueueSize; ++turn) ahead.driver.publish(0, 0);
  Gathered gathered(&ahead.queue);
  EXPECT(!gathered.reach(1 << 20).take() && gathered.pieces().count <= Gathered::kMaxPieces);
}

}  // namespace bulkhead::vm
