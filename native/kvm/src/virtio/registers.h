// Registers and states of virtio over memory-mapped registers: virtio 1.2, 4.2.2 and 2.1.
#pragma once

#include <cstdint>

namespace bulkhead::vm {

enum Register : uint64_t {
  kMagic = 0x00,
  kVersion = 0x04,
  kDeviceId = 0x08,
  kVendorId = 0x0c,
  kFeatures = 0x10,
  kFeaturesPart = 0x14,
  kDriverFeatures = 0x20,
  kDriverFeaturesPart = 0x24,
  kQueueSelect = 0x30,
  kQueueMaxSize = 0x34,
  kQueueSize = 0x38,
  kQueueReady = 0x44,
  kInterruptCauses = 0x60,
  kInterruptAcknowledge = 0x64,
  kStatus = 0x70,
  kQueueDescriptors = 0x80,
  kQueueAvailable = 0x90,
  kQueueUsed = 0xa0,
  kSharedLength = 0xb0,
  kSharedBase = 0xb8,
  kConfigGeneration = 0xfc,
  kConfig = 0x100,
};

enum StatusBit : uint32_t {
  kAcknowledged = 1,
  kDriver = 2,
  kDriverOk = 4,
  kFeaturesOk = 8,
  kNeedsReset = 0x40,
  kFailed = 0x80,
};

}  // namespace bulkhead::vm
