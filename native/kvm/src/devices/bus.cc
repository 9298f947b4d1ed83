#include "devices/bus.h"

#include <cerrno>
#include <cstring>

namespace bulkhead::vm {

Status Bus::add(uint64_t address, uint64_t sizeBytes, BusDevice* device) {
  for (const BusRange& range : ranges_) {
    if (address < range.address + range.sizeBytes && range.address < address + sizeBytes) {
      return failure("bus", EEXIST, "two devices at one address");
    }
  }
  ranges_.push_back({address, sizeBytes, device, std::make_unique<std::atomic<uint64_t>>(0)});
  return Done{};
}

const BusRange* Bus::find(uint64_t address, uint32_t size) const {
  for (const BusRange& range : ranges_) {
    if (address < range.address) continue;
    const uint64_t offset = address - range.address;
    if (offset >= range.sizeBytes || size > range.sizeBytes - offset) continue;
    range.uses->fetch_add(1, std::memory_order_relaxed);
    return &range;
  }
  return nullptr;
}

bool Bus::read(uint64_t address, uint8_t* data, uint32_t size) const {
  memset(data, 0xff, size);
  const BusRange* range = find(address, size);
  if (range != nullptr) range->device->read(address - range->address, data, size);
  return range != nullptr;
}

bool Bus::write(uint64_t address, const uint8_t* data, uint32_t size) const {
  const BusRange* range = find(address, size);
  if (range != nullptr) range->device->write(address - range->address, data, size);
  return range != nullptr;
}

}  // namespace bulkhead::vm
