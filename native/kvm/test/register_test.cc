// Every register of every virtio device, written in every state, with every kind of access.
#include "driver.h"
#include "each_device.h"
#include "runner.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kStatus = 0x70;
constexpr uint32_t kWorks = 0xf;
constexpr uint32_t kValues[] = {0, 1, 2, 3, 7, 8, 16, 64, 255, 256, 257, 0x8000, 0xffff, 0x10000, 0xfffffff0, ~0u};

struct Subject {
  Fd program;
  Driver driver;
  explicit Subject(uint8_t kind) : driver(makeDevice(kind, &program)) {}
  /** Whatever the device is still at, which ends. */
  void settle() {
    int turns = 0;
    while (driver.wait(0) && turns < 1000) ++turns;
    EXPECT(turns < 1000);
  }
};

/** Brings a device into each state that there is, by what a driver writes. */
void reach(Driver* driver, uint32_t state) {
  for (const uint32_t step : {0u, 1u, 3u}) {
    if (step <= state) driver->set(kStatus, step);
  }
  if (state == 0x83) driver->set(kStatus, 0x83);
  if (state == 0xb) driver->begin();
  if (state == kWorks) driver->start();
  if (state == 0x4f) {
    driver->begin();
    driver->setUpQueue(0, 3);
    driver->finish();
  }
}

/** A request of no meaning is given back, or breaks a rule; in both cases from where the ring is. */
bool servesOrRefuses(Driver* driver, uint32_t queue) {
  driver->add(queue, {{Driver::kData, 16}, {Driver::kData + 64, 16, true}});
  driver->ring(queue);
  return driver->status() == kWorks || driver->needsReset();
}

}  // namespace

TEST(virtio_registers_written_in_every_state_leave_a_device_that_starts) {
  for (uint8_t kind = 0; kind < kDeviceKinds; ++kind) {
    for (const uint32_t state : {0u, 1u, 3u, 0xbu, kWorks, 0x4fu, 0x83u}) {
      for (uint64_t offset = 0; offset < 0x120; offset += 4) {
        if (offset == kStatus) continue;
        Subject subject(kind);
        Driver& driver = subject.driver;
        reach(&driver, state);
        const uint32_t before = driver.status();
        EXPECT(before == state);
        for (const uint32_t value : kValues) driver.set(offset, value);
        // Only the status register moves a device from state to state.
        EXPECT_THAT(driver.status() == before, nameOfKind(kind));
        driver.start();
        subject.settle();
        EXPECT_THAT(driver.status() == kWorks, nameOfKind(kind));
        EXPECT(servesOrRefuses(&driver, 0));
      }
    }
  }
}

TEST(virtio_status_takes_no_step_that_is_none_from_any_state) {
  for (const uint32_t state : {0u, 1u, 3u, 0xbu, kWorks, 0x4fu, 0x83u}) {
    for (uint32_t value = 1; value < 0x400; ++value) {
      Subject subject(0);
      Driver& driver = subject.driver;
      reach(&driver, state);
      driver.set(kStatus, value);
      const uint32_t after = driver.status();
      // It stays, or takes the one next step, or is given up; no bit is lost and no unknown one appears.
      EXPECT((after & state) == state && (after & ~uint32_t{0xcf}) == 0);
      const uint32_t gained = after & ~state & 0xf;
      EXPECT((gained & (gained - 1)) == 0);
      if ((value & 0x80) != 0) EXPECT((after & 0x80) != 0 && gained == 0);
    }
  }
}

TEST(virtio_queue_registers_of_a_working_device_move_nothing) {
  for (const uint32_t value : kValues) {
    Subject subject(0);
    Driver& driver = subject.driver;
    driver.start();
    for (const uint32_t selected : {0u, 1u, 64u, 0xffffu, ~0u}) {
      driver.set(0x30, selected);
      EXPECT(driver.reg(0x34) == (selected == 0 ? 256 : 0));
      for (const uint64_t offset : {0x38, 0x44, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0xc0, 0x20, 0x24}) {
        driver.set(offset, value);
      }
    }
    driver.add(0, {{Driver::kData, 8, true}});
    driver.ring(0);
    EXPECT(driver.usedCount(0) == 1 && driver.status() == kWorks);
  }
}

TEST(virtio_queues_beyond_the_last_one_are_nobody_s) {
  for (uint8_t kind = 0; kind < kDeviceKinds; ++kind) {
    Subject subject(kind);
    Driver& driver = subject.driver;
    const uint32_t count = driver.transport->doorbellCount();
    for (const uint32_t queue : {count, count + 1, 64u, 0x7fffffffu, 0x80000000u, ~0u}) {
      driver.begin();
      driver.set(0x30, queue);
      EXPECT(driver.reg(0x34) == 0);
      for (const uint64_t offset : {0x38, 0x80, 0x84, 0x90, 0x94, 0xa0, 0xa4, 0x44}) driver.set(offset, 8);
      EXPECT(driver.reg(0x44) == 0);
      driver.set(0x50, queue);
      driver.start();
      subject.settle();
      driver.set(0x50, queue);
      EXPECT_THAT(driver.status() == kWorks && !driver.wait(0), nameOfKind(kind));
    }
  }
}

TEST(virtio_accesses_of_the_wrong_size_or_place_change_nothing) {
  for (uint8_t kind = 0; kind < kDeviceKinds; ++kind) {
    Subject subject(kind);
    Driver& driver = subject.driver;
    driver.start();
    subject.settle();
    for (uint64_t offset = 0; offset < 0x100; ++offset) {
      for (const uint32_t size : {1u, 2u, 4u, 8u}) {
        if (size == 4 && offset % 4 == 0) continue;
        const uint8_t ones[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
        const uint8_t zeroes[8] = {};
        uint8_t seen[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
        driver.transport->write(offset, ones, size);
        driver.transport->write(offset, zeroes, size);
        driver.transport->read(offset, seen, size);
        EXPECT(memcmp(seen, zeroes, size) == 0 && memcmp(seen + size, ones, 8 - size) == 0);
      }
    }
    EXPECT_THAT(driver.status() == kWorks && !driver.wait(0), nameOfKind(kind));
    EXPECT(servesOrRefuses(&driver, 0));
  }
}

TEST(virtio_configuration_ends_where_it_ends) {
  for (uint8_t kind = 0; kind < kDeviceKinds; ++kind) {
    Subject subject(kind);
    Driver& driver = subject.driver;
    driver.start();
    for (uint64_t offset = 0x100; offset < Transport::kRegisterBytes; ++offset) {
      for (const uint32_t size : {1u, 2u, 4u, 8u}) {
        if (size > Transport::kRegisterBytes - offset) continue;
        uint8_t seen[8] = {};
        driver.transport->read(offset, seen, size);
        driver.transport->write(offset, seen, size);
        // No device has more than a hundred bytes there.
        const uint8_t zeroes[8] = {};
        if (offset >= 0x164) EXPECT(memcmp(seen, zeroes, size) == 0);
      }
    }
    EXPECT_THAT(driver.status() == kWorks, nameOfKind(kind));
  }
}

TEST(bus_reaches_no_device_by_half) {
  Subject first(0);
  Subject second(0);
  Bus bus;
  EXPECT(bus.add(0x1000, 0x1000, first.driver.transport.get()).ok());
  EXPECT(bus.add(0x2000, 0x1000, second.driver.transport.get()).ok());
  for (const uint32_t size : {1u, 2u, 4u, 8u}) {
    for (uint64_t address = 0x2000 - 8; address < 0x2008; ++address) {
      const bool whole = address + size <= 0x2000 || address >= 0x2000;
      uint8_t bytes[8] = {};
      EXPECT(bus.read(address, bytes, size) == whole && bus.write(address, bytes, size) == whole);
    }
    uint8_t bytes[8] = {};
    EXPECT(!bus.read(0x1000 - size, bytes, size) && !bus.read(0x3000, bytes, size));
    EXPECT(!bus.read(~uint64_t{0} - size + 1, bytes, size) && !bus.write(~uint64_t{0}, bytes, size));
    for (uint32_t index = 0; index < size; ++index) EXPECT(bytes[index] == 0xff);
  }
}

}  // namespace bulkhead::vm
