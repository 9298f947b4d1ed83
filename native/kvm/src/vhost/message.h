// Messages of vhost-user: QEMU, docs/interop/vhost-user.rst. Little-endian, as x86 is.
#pragma once

#include <cstdint>

#include "sys/result.h"

namespace bulkhead::vm {

enum class VhostRequest : uint32_t {
  getFeatures = 1,
  setFeatures = 2,
  setOwner = 3,
  setMemoryTable = 5,
  setRingSize = 8,
  setRingAddresses = 9,
  setRingBase = 10,
  getRingBase = 11,
  setRingKick = 12,
  setRingCall = 13,
  getProtocolFeatures = 15,
  setProtocolFeatures = 16,
  setRingEnabled = 18,
};

struct VhostHeader {
  VhostRequest request;
  uint32_t flags;
  uint32_t sizeBytes;
};
static_assert(sizeof(VhostHeader) == 12);

inline constexpr uint32_t kVhostVersion = 1;
inline constexpr uint32_t kVhostVersionBits = 3;
inline constexpr uint32_t kVhostIsReply = 4;
inline constexpr uint32_t kVhostNeedsReply = 8;

inline constexpr uint64_t kVhostProtocolFeatures = uint64_t{1} << 30;
/** Every request is answered, with 0 when it was done. */
inline constexpr uint64_t kVhostReplyAck = uint64_t{1} << 3;

struct VhostRingState {
  uint32_t index;
  uint32_t value;
};

struct VhostRingAddresses {
  uint32_t index;
  uint32_t flags;
  /** As the front end has them mapped, in the words of its memory table. */
  uint64_t descriptors;
  uint64_t used;
  uint64_t available;
  uint64_t log;
};

struct VhostRegion {
  uint64_t address;
  uint64_t sizeBytes;
  uint64_t host;
  uint64_t fileOffset;
};

inline constexpr uint32_t kVhostMaxRegions = 2;
struct VhostMemoryTable {
  uint32_t count;
  uint32_t padding;
  VhostRegion regions[kVhostMaxRegions];
};

}  // namespace bulkhead::vm
