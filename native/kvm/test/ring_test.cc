// Rings that overlap, that lie in each other and in what they describe, and that change while they are read.
#include "driver.h"
#include "each_device.h"
#include "events/clock.h"
#include "meddler.h"
#include "runner.h"

namespace bulkhead::vm {
namespace {

/** More turns of the loop than any device needs for what one of these tests asks of it. */
constexpr int kTurns = 1000;

struct Places {
  uint64_t descriptors;
  uint64_t available;
  uint64_t used;
};

void settle(Driver* driver) {
  int turns = 0;
  while (driver->wait(0) && turns < kTurns) ++turns;
  EXPECT(turns < kTurns);
}

/** Starts a device of this kind with every queue's rings there, and uses it as if they were anywhere else. */
void useWith(uint8_t kind, const Places& places) {
  Fd program;
  Driver driver(makeDevice(kind, &program));
  driver.begin();
  const uint32_t queues = driver.transport->doorbellCount();
  for (uint32_t queue = 0; queue < queues; ++queue) {
    driver.setUpQueue(queue);
    driver.set(0x44, 0);
    driver.set(0x80, static_cast<uint32_t>(places.descriptors));
    driver.set(0x90, static_cast<uint32_t>(places.available));
    driver.set(0xa0, static_cast<uint32_t>(places.used));
    driver.set(0x44, 1);
  }
  driver.finish();
  EXPECT_THAT(!driver.needsReset(), nameOfKind(kind));
  for (int round = 0; round < 50; ++round) {
    for (uint16_t word = 0; word < 40; ++word) {
      // Descriptors, indexes and used elements at once, whichever ring reads them.
      driver.memory.write<uint16_t>(places.descriptors + word * 2, static_cast<uint16_t>(round * 7 + word));
    }
    driver.memory.write(places.descriptors, ring::Descriptor{places.used & ~uint64_t{3}, 64, ring::kWritable, 1});
    driver.memory.write<uint16_t>(places.available + 2, static_cast<uint16_t>(round));
    for (uint32_t queue = 0; queue < queues; ++queue) driver.ring(queue);
    settle(&driver);
    if (driver.needsReset()) break;
  }
  driver.start();
  settle(&driver);
  EXPECT_THAT(driver.status() == 0xf, nameOfKind(kind));
}

}  // namespace

TEST(virtio_rings_on_top_of_each_other_harm_their_guest_only) {
  const uint64_t at = Driver::descriptors(0);
  const Places everywhere[] = {
      {at, at, at},                    // all three in one place
      {at, at + 0x4000, at},           // what is given back overwrites the descriptors
      {at, at, at + 0x8000},           // requests are descriptors
      {at, at + 0x4000, at + 0x4000},  // what is given back overwrites what is asked for
      {at + 16, at + 2, at + 4},       // shifted into each other
      {4 * layout::kMiB - 256, 4 * layout::kMiB - 40, 4 * layout::kMiB - 136},  // at the end of RAM
  };
  for (uint8_t kind = 0; kind < kDeviceKinds; ++kind) {
    for (const Places& places : everywhere) useWith(kind, places);
  }
}

TEST(virtio_rings_of_one_byte_beyond_the_end_of_ram_are_refused) {
  const auto starts = [](uint64_t offset, uint64_t address) {
    Fd program;
    Driver driver(makeDevice(0, &program));
    driver.begin();
    driver.setUpQueue(0);
    driver.set(0x44, 0);
    driver.set(offset, static_cast<uint32_t>(address));
    driver.set(offset + 4, static_cast<uint32_t>(address >> 32));
    driver.set(0x44, 1);
    driver.finish();
    return !driver.needsReset();
  };
  const uint64_t end = 4 * layout::kMiB;
  const uint16_t size = Driver::kQueueSize;
  // Each ring fits exactly, and not one step further.
  EXPECT(starts(0x80, end - ring::descriptorBytes(size)) && !starts(0x80, end - ring::descriptorBytes(size) + 16));
  EXPECT(starts(0x90, end - ring::availableBytes(size)) && !starts(0x90, end - ring::availableBytes(size) + 2));
  EXPECT(starts(0xa0, end - ring::usedBytes(size) - 2) && !starts(0xa0, end - ring::usedBytes(size) + 2));
  for (const uint64_t offset : {0x80, 0x90, 0xa0}) {
    for (const uint64_t address : {end, layout::kVirtioMmio - 1 - (layout::kVirtioMmio - 1) % 16,
                                   uint64_t{layout::kLocalApic}, ~uint64_t{0} - 15, uint64_t{1} << 63}) {
      EXPECT(!starts(offset, address));
    }
  }
}

TEST(virtio_requests_that_lie_in_rings_harm_their_guest_only) {
  for (uint8_t kind = 0; kind < kDeviceKinds; ++kind) {
    Fd program;
    Driver driver(makeDevice(kind, &program));
    const uint32_t queues = driver.transport->doorbellCount();
    for (uint32_t queue = 0; queue < queues; ++queue) {
      for (const uint64_t address : {Driver::descriptors(queue), Driver::available(queue), Driver::used(queue)}) {
        driver.start();
        driver.add(queue, {{address, 600}, {address, 600, true}}, 0);
        driver.add(queue, {{address, 600, true}}, 4);
        driver.ring(queue);
        settle(&driver);
      }
    }
    driver.start();
    settle(&driver);
    EXPECT_THAT(driver.status() == 0xf, nameOfKind(kind));
  }
}

TEST(virtio_rings_that_change_while_they_are_read_harm_their_guest_only) {
  constexpr uint64_t kForNs = 60'000'000;
  for (uint8_t kind = 0; kind < kDeviceKinds; ++kind) {
    Fd program;
    Driver driver(makeDevice(kind, &program));
    const uint32_t queues = driver.transport->doorbellCount();
    const uint64_t end = monotonicNs() + kForNs;
    for (uint64_t round = 0; monotonicNs() < end; ++round) {
      driver.start();
      const auto queue = static_cast<uint32_t>(round % queues);
      driver.add(queue, {{Driver::kData, 64}, {Driver::kData + 4096, 513, true}});
      const Meddler meddler(&driver, queue, round);
      for (int rings = 0; rings < 50 && !driver.needsReset(); ++rings) driver.ring(queue);
    }
    driver.start();
    settle(&driver);
    EXPECT_THAT(driver.status() == 0xf, nameOfKind(kind));
  }
}

TEST(virtio_chains_as_long_as_their_queue_and_longer_end) {
  Fd program;
  Driver driver(makeDevice(0, &program));
  driver.begin();
  driver.setUpQueue(0, 256);
  driver.finish();
  std::vector<Buffer> longest(256, Buffer{Driver::kData, 1, true});
  driver.add(0, longest);
  driver.ring(0);
  EXPECT(driver.usedAt(0, 0).sizeBytes == 256);
  driver.describe(0, 255, {Driver::kData, 1, true}, 0);
  driver.publish(0, 0);
  driver.ring(0);
  EXPECT(driver.needsReset());
}

}  // namespace bulkhead::vm
