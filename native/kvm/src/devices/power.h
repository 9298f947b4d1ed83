// How a guest switches its machine off or resets it, and how it says where it is.
#pragma once

#include <atomic>

#include "devices/bus.h"
#include "devices/ending.h"

namespace bulkhead::vm {

/** ACPI's sleep control, sleep status and reset registers. */
class PowerPorts : public BusDevice {
 public:
  explicit PowerPorts(Ending* ending) : ending_(ending) {}
  void read(uint64_t offset, uint8_t* data, uint32_t size) override;
  void write(uint64_t offset, const uint8_t* data, uint32_t size) override;

 private:
  Ending* ending_;
};

/** What is left of a keyboard controller: the reset line that kernels pull when they know no better. */
class KeyboardController : public BusDevice {
 public:
  static constexpr uint16_t kPort = 0x60;
  static constexpr uint16_t kPorts = 5;

  explicit KeyboardController(Ending* ending) : ending_(ending) {}
  void read(uint64_t offset, uint8_t* data, uint32_t size) override;
  void write(uint64_t offset, const uint8_t* data, uint32_t size) override;

 private:
  Ending* ending_;
};

/** Where a kernel says that it panics (Linux, drivers/misc/pvpanic; QEMU, docs/specs/pvpanic.txt). */
class PanicPort : public BusDevice {
 public:
  explicit PanicPort(Ending* ending) : ending_(ending) {}
  void read(uint64_t offset, uint8_t* data, uint32_t size) override;
  void write(uint64_t offset, const uint8_t* data, uint32_t size) override;

 private:
  Ending* ending_;
};

/** Port 0x80, where firmware shows its progress: the last byte written and how many there were. */
class ProgressPort : public BusDevice {
 public:
  static constexpr uint16_t kPort = 0x80;

  void read(uint64_t offset, uint8_t* data, uint32_t size) override;
  void write(uint64_t offset, const uint8_t* data, uint32_t size) override;
  uint8_t last() const { return last_.load(std::memory_order_acquire); }
  uint32_t count() const { return count_.load(std::memory_order_acquire); }
  /** CLOCK_MONOTONIC of the first and second write, in nanoseconds; 0 before. */
  uint64_t firstAt() const { return firstAt_.load(std::memory_order_acquire); }
  uint64_t secondAt() const { return secondAt_.load(std::memory_order_acquire); }

 private:
  std::atomic<uint8_t> last_ = 0;
  std::atomic<uint32_t> count_ = 0;
  std::atomic<uint64_t> firstAt_ = 0;
  std::atomic<uint64_t> secondAt_ = 0;
};

}  // namespace bulkhead::vm
