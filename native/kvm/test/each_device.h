// One device of each kind, on files and sockets that a test needs no privilege for.
#pragma once

#include <memory>

#include "sys/fd.h"
#include "virtio/device.h"

namespace bulkhead::vm {

/** Block is two of them: with io_uring and without. */
inline constexpr uint8_t kDeviceKinds = 8;

const char* nameOfKind(uint8_t kind);

/** `program` is the other end of whatever the device talks to, when that must stay open. */
std::unique_ptr<Device> makeDevice(uint8_t kind, Fd* program);

}  // namespace bulkhead::vm
