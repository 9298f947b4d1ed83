// What lies in a virtqueue's memory: virtio 1.2, 2.7 (split virtqueues). All of it little-endian, as x86 is.
#pragma once

#include <cstdint>

namespace bulkhead::vm::ring {

struct Descriptor {
  uint64_t address;
  uint32_t sizeBytes;
  uint16_t flags;
  uint16_t next;
};

enum DescriptorFlag : uint16_t { kNext = 1, kWritable = 2, kIndirect = 4 };

/** In the available ring's flags: the driver wants no interrupt. */
inline constexpr uint16_t kNoInterrupt = 1;

inline constexpr uint64_t kDescriptorAlignment = 16;
inline constexpr uint64_t kAvailableAlignment = 2;
inline constexpr uint64_t kUsedAlignment = 4;

constexpr uint64_t descriptorBytes(uint16_t size) {
  return uint64_t{size} * sizeof(Descriptor);
}
/** Flags, index, heads, and the used event. */
constexpr uint64_t availableBytes(uint16_t size) {
  return 6 + uint64_t{size} * 2;
}
/** Flags, index, elements of 8 bytes, and the available event. */
constexpr uint64_t usedBytes(uint16_t size) {
  return 6 + uint64_t{size} * 8;
}

}  // namespace bulkhead::vm::ring
