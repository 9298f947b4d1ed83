// What travels in a vsock's queues: virtio 1.2, 5.10.6.
#pragma once

#include <cstdint>

namespace bulkhead::vm {

enum class VsockOperation : uint16_t {
  request = 1,
  response = 2,
  reset = 3,
  shutdown = 4,
  data = 5,
  creditUpdate = 6,
  creditRequest = 7,
};

inline constexpr uint64_t kVsockHost = 2;
inline constexpr uint16_t kVsockStream = 1;
/** Flags of a shutdown: its sender will receive, or send, no more. */
inline constexpr uint32_t kVsockNoReceive = 1;
inline constexpr uint32_t kVsockNoSend = 2;

struct [[gnu::packed]] VsockHeader {
  uint64_t sourceCid = 0;
  uint64_t destinationCid = 0;
  uint32_t sourcePort = 0;
  uint32_t destinationPort = 0;
  uint32_t sizeBytes = 0;
  uint16_t type = kVsockStream;
  VsockOperation operation = VsockOperation::reset;
  uint32_t flags = 0;
  /** How much the sender can hold, and how much it has passed on, modulo 2^32. */
  uint32_t bufferBytes = 0;
  uint32_t forwardedBytes = 0;
};
static_assert(sizeof(VsockHeader) == 44);

}  // namespace bulkhead::vm
