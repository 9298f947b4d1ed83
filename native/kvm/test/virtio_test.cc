// Registers, states and rings of every virtio device, as good drivers and bad ones use them.
#include "driver.h"
#include "runner.h"
#include "virtio/entropy.h"

namespace bulkhead::vm {
namespace {

/** A started device that is asked for `sizeBytes` random bytes by whatever `break_` makes of the request. */
template <class Break>
bool breaks(Break break_) {
  Driver driver(std::make_unique<Entropy>());
  driver.start();
  driver.describe(0, 0, {Driver::kData, 16, true});
  break_(driver);
  driver.ring(0);
  const bool broken = driver.needsReset();
  EXPECT(!broken || driver.transport->counts().faults == 1);
  // A driver that has heard of it starts over, and all is well.
  driver.start();
  driver.add(0, {{Driver::kData, 16, true}});
  driver.ring(0);
  EXPECT(!driver.needsReset() && driver.usedCount(0) == 1);
  return broken;
}

}  // namespace

TEST(virtio_registers_say_what_the_device_is) {
  Driver driver(std::make_unique<Entropy>());
  EXPECT(driver.reg(0) == 0x74726976 && driver.reg(4) == 2 && driver.reg(8) == 4);
  EXPECT(driver.reg(0x34) == 256);
  driver.set(0x30, 1);
  EXPECT(driver.reg(0x34) == 0);
  driver.set(0x14, 1);
  EXPECT(driver.reg(0x10) == 1);
  driver.set(0x14, 2);
  EXPECT(driver.reg(0x10) == 0);
  uint8_t bytes[8] = {1, 1, 1, 1, 1, 1, 1, 1};
  driver.transport->read(0, bytes, 1);
  driver.transport->read(2, bytes + 4, 4);
  EXPECT(bytes[0] == 0 && bytes[4] == 0);
}

TEST(virtio_status_goes_step_by_step) {
  Driver driver(std::make_unique<Entropy>());
  for (const uint32_t wrong : {2u, 3u, 0xfu, 0x100u}) {
    driver.set(0x70, wrong);
    EXPECT(driver.status() == 0);
  }
  driver.set(0x70, 1);
  driver.set(0x70, 2);
  EXPECT(driver.status() == 1);
  driver.set(0x70, 3);
  // A driver that does not know version 1, or takes what was not offered, gets no further.
  driver.set(0x70, 0xb);
  EXPECT(driver.status() == 3);
  driver.set(0x24, 1);
  driver.set(0x20, 0x80000001);
  driver.set(0x70, 0xb);
  EXPECT(driver.status() == 3);
  driver.set(0x20, 1);
  driver.set(0x70, 0xb);
  EXPECT(driver.status() == 0xb);
  driver.set(0x70, 3);
  EXPECT(driver.status() == 0xb);
  driver.set(0x70, 0x8b);
  EXPECT(driver.status() == 0x8b);
  driver.set(0x70, 0);
  EXPECT(driver.status() == 0);
}

TEST(virtio_request_is_served_and_reported) {
  Driver driver(std::make_unique<Entropy>());
  driver.start();
  driver.add(0, {{Driver::kData, 8, true}, {Driver::kData + 100, 8, true}});
  driver.ring(0);
  EXPECT(driver.usedCount(0) == 1 && driver.usedAt(0, 0).head == 0 && driver.usedAt(0, 0).sizeBytes == 16);
  EXPECT(driver.get(Driver::kData, 8) != std::string(8, '\0'));
  EXPECT(driver.get(Driver::kData + 8, 8) == std::string(8, '\0'));
  EXPECT(driver.interrupted() && driver.reg(0x60) == 1);
  driver.set(0x64, 1);
  EXPECT(driver.reg(0x60) == 0);
}

TEST(virtio_interrupts_come_when_they_are_wanted) {
  Driver driver(std::make_unique<Entropy>());
  driver.start();
  driver.memory.write<uint16_t>(Driver::available(0), 1);
  driver.add(0, {{Driver::kData, 8, true}});
  driver.ring(0);
  EXPECT(driver.usedCount(0) == 1 && !driver.interrupted());

  driver.start(Driver::kEventIndex);
  // Not before the third is given back.
  driver.memory.write<uint16_t>(Driver::available(0) + 4 + Driver::kQueueSize * 2, 2);
  for (int count = 1; count <= 4; ++count) {
    driver.add(0, {{Driver::kData, 8, true}});
    driver.ring(0);
    EXPECT(driver.interrupted() == (count == 3));
  }
  uint16_t wanted = 0;
  EXPECT(driver.memory.read(Driver::used(0) + 4 + Driver::kQueueSize * 8, &wanted) && wanted == 4);
}

TEST(virtio_queue_goes_round) {
  Driver driver(std::make_unique<Entropy>());
  driver.start();
  for (uint32_t count = 1; count <= 70'000; ++count) {
    driver.add(0, {{Driver::kData, 1, true}}, count % Driver::kQueueSize);
    driver.ring(0);
  }
  EXPECT(!driver.needsReset() && driver.usedCount(0) == 70'000 % 65'536);
}

TEST(virtio_queue_that_keeps_full_lets_others_have_their_turn) {
  Driver driver(std::make_unique<Entropy>());
  driver.begin();
  driver.setUpQueue(0, 256);
  driver.finish();
  while (driver.wait(0)) continue;
  driver.describe(0, 0, {Driver::kData, 1, true});
  driver.memory.write<uint16_t>(Driver::available(0) + 2, 256);
  driver.ring(0);
  // The doorbell has rung once more, by itself.
  EXPECT(driver.usedCount(0) == 256 && driver.wait(0) && !driver.wait(0));
}

TEST(virtio_rings_that_lie_stop_their_device_until_reset) {
  const uint64_t end = 4 * layout::kMiB;
  EXPECT(!breaks([](Driver& driver) { driver.publish(0, 0); }));
  EXPECT(breaks([](Driver& driver) { driver.memory.write<uint16_t>(Driver::available(0) + 2, 17); }));
  EXPECT(breaks([](Driver& driver) { driver.publish(0, Driver::kQueueSize); }));
  EXPECT(breaks([](Driver& driver) { driver.publish(0, 0xffff); }));
  const auto oneBuffer = [](const Buffer& buffer) { return breaks([&](Driver& driver) { driver.add(0, {buffer}); }); };
  EXPECT(!oneBuffer({end - 8, 8, true}));
  EXPECT(oneBuffer({end - 8, 9, true}));
  EXPECT(oneBuffer({layout::kVirtioMmio, 8, true}));
  EXPECT(oneBuffer({~uint64_t{0}, 2, true}));
  EXPECT(oneBuffer({Driver::kData, 0, true}));
  // A loop, a next beyond the table, indirect, and buffers in the wrong order.
  EXPECT(breaks([](Driver& driver) {
    driver.describe(0, 0, {Driver::kData, 8, true}, 0);
    driver.publish(0, 0);
  }));
  EXPECT(breaks([](Driver& driver) {
    driver.describe(0, 0, {Driver::kData, 8, true}, Driver::kQueueSize);
    driver.publish(0, 0);
  }));
  EXPECT(breaks([](Driver& driver) {
    driver.memory.write(Driver::descriptors(0), ring::Descriptor{Driver::kData, 16, ring::kIndirect, 0});
    driver.publish(0, 0);
  }));
  EXPECT(breaks([](Driver& driver) { driver.add(0, {{Driver::kData, 8, true}, {Driver::kData, 8, false}}); }));
}

TEST(virtio_buffers_of_4_gib_together_are_refused) {
  Chain chain;
  const GuestMemory memory = GuestMemory::create({.sizeBytes = 4 * layout::kGiB}).take();
  chain.begin(0);
  EXPECT(chain.add({layout::kGiB, 0x80000000, 0, 0}, memory).ok());
  EXPECT(!chain.add({layout::kGiB, 0x80000000, 0, 0}, memory).ok());
}

TEST(virtio_queues_that_cannot_be_are_refused_at_the_start) {
  const auto starts = [](uint64_t offset, uint32_t value) {
    Driver driver(std::make_unique<Entropy>());
    driver.begin();
    driver.setUpQueue(0);
    driver.set(0x44, 0);
    driver.set(offset, value);
    driver.set(0x44, 1);
    driver.finish();
    return !driver.needsReset();
  };
  EXPECT(starts(0x38, 256));
  for (const uint32_t size : {0u, 3u, 257u, 512u, 0x10001u, ~0u}) EXPECT(!starts(0x38, size));
  EXPECT(!starts(0x80, 0x10008));
  EXPECT(!starts(0x90, 0x10001));
  EXPECT(!starts(0xa0, 0x10002));
  EXPECT(!starts(0x84, 1));
  EXPECT(!starts(0x80, static_cast<uint32_t>(4 * layout::kMiB - 16)));
  EXPECT(!starts(0xa0, static_cast<uint32_t>(layout::kVirtioMmio)));
}

TEST(virtio_queues_do_not_move_while_they_are_used) {
  Driver driver(std::make_unique<Entropy>());
  // Before features are agreed on, nothing is taken.
  driver.set(0x38, 4);
  driver.set(0x44, 1);
  EXPECT(driver.reg(0x44) == 0);
  driver.begin();
  driver.setUpQueue(0);
  driver.set(0x80, 0x10008);
  driver.finish();
  EXPECT(!driver.needsReset());
  for (const uint64_t offset : {0x38, 0x44, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4}) driver.set(offset, 0);
  driver.set(0x30, 77);
  driver.set(0x44, 1);
  driver.add(0, {{Driver::kData, 8, true}});
  driver.ring(0);
  EXPECT(driver.usedCount(0) == 1);
}

TEST(virtio_queue_that_is_not_ready_is_empty) {
  Driver driver(std::make_unique<Entropy>());
  driver.begin();
  driver.finish();
  driver.ring(0);
  EXPECT(!driver.needsReset() && driver.status() == 0xf);
}

TEST(virtio_doorbells_by_register_reach_only_queues_that_are) {
  Driver driver(std::make_unique<Entropy>());
  driver.start();
  while (driver.wait(0)) continue;
  driver.set(0x50, 1);
  driver.set(0x50, ~0u);
  EXPECT(!driver.wait(0));
  driver.add(0, {{Driver::kData, 8, true}});
  driver.set(0x50, 0);
  EXPECT(driver.wait(0) && driver.usedCount(0) == 1);
}

TEST(entropy_of_one_request_has_a_limit) {
  Driver driver(std::make_unique<Entropy>());
  driver.start();
  driver.add(0, {{Driver::kData, static_cast<uint32_t>(layout::kMiB), true}});
  driver.add(0, {{Driver::kData, 8, false}}, 1);
  driver.ring(0);
  EXPECT(driver.usedAt(0, 0).sizeBytes == 64 * 1024 && driver.usedAt(0, 1).sizeBytes == 0);
}

}  // namespace bulkhead::vm
