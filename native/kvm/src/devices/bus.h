// Which device answers at which address.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "sys/result.h"

namespace bulkhead::vm {

/** Something that a guest reads and writes, from any of its processors at once: every call takes the device's own lock.
 */
class BusDevice {
 public:
  virtual ~BusDevice() = default;
  /** `data` is of `size` bytes (1, 2, 4 or 8) and filled with ones; `offset + size` is inside the device. */
  virtual void read(uint64_t offset, uint8_t* data, uint32_t size) = 0;
  virtual void write(uint64_t offset, const uint8_t* data, uint32_t size) = 0;
};

/** Addresses of one device. */
struct BusRange {
  uint64_t address;
  uint64_t sizeBytes;
  BusDevice* device;
  /** Accesses, ever; by any processor's thread. */
  std::unique_ptr<std::atomic<uint64_t>> uses;
};

/** An address space of devices that never change once the machine runs. */
class Bus {
 public:
  /** @returns EEXIST when the range touches another's */
  Status add(uint64_t address, uint64_t sizeBytes, BusDevice* device);

  /** Nobody there, or an access across an end: ones, as on an empty bus. False then. */
  bool read(uint64_t address, uint8_t* data, uint32_t size) const;
  bool write(uint64_t address, const uint8_t* data, uint32_t size) const;
  /** In the order in which they were added. */
  const std::vector<BusRange>& ranges() const { return ranges_; }

 private:
  const BusRange* find(uint64_t address, uint32_t size) const;

  std::vector<BusRange> ranges_;
};

}  // namespace bulkhead::vm
