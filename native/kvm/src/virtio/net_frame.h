// What crosses a network card: virtio 1.2, 5.1.6, and Ethernet.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bulkhead::vm {

/** struct virtio_net_hdr_mrg_rxbuf. */
struct NetHeader {
  uint8_t flags;
  uint8_t segmentation;
  uint16_t headerBytes;
  uint16_t segmentBytes;
  uint16_t checksumStart;
  uint16_t checksumOffset;
  uint16_t buffers;
};
static_assert(sizeof(NetHeader) == 12);
inline constexpr uint8_t kNeedsChecksum = 1;
inline constexpr uint8_t kNoSegmentation = 0;
inline constexpr uint8_t kSegmentTcp4 = 1;
inline constexpr uint8_t kSegmentTcp6 = 4;

/** Destination, source and type. */
inline constexpr size_t kEthernetBytes = 14;
inline constexpr size_t kSourceAt = 6;
/** An IP packet of 64 KiB in its frame, with a VLAN tag. */
inline constexpr size_t kMaxFrameBytes = 65535 + kEthernetBytes + 4;

}  // namespace bulkhead::vm
