// One request of a driver: buffers to read, then buffers to write.
#pragma once

#include <sys/uio.h>

#include <cstdint>

#include "memory/guest_memory.h"
#include "sys/span.h"
#include "virtio/ring.h"

namespace bulkhead::vm {

/**
 * A descriptor chain whose every buffer has been found to lie in the guest's RAM. What the buffers contain may change
 * at any moment: it is copied, and then looked at.
 */
class Chain {
 public:
  static constexpr uint32_t kMaxSegments = 256;

  /** Empties it. */
  void begin(uint16_t head);
  /** @returns EPROTO with the rule that the driver broke */
  Status add(const ring::Descriptor& descriptor, const GuestMemory& memory);

  uint16_t head() const { return head_; }
  Span<const iovec> readable() const { return {segments_, readableCount_}; }
  Span<const iovec> writable() const { return {segments_ + readableCount_, count_ - readableCount_}; }
  uint32_t readableBytes() const { return readableBytes_; }
  uint32_t writableBytes() const { return writableBytes_; }

  /** Copies from the readable buffers; false, and nothing copied, unless all of the range is there. */
  bool read(uint32_t offset, void* to, uint32_t sizeBytes) const;
  /** Copies to the writable buffers; likewise. */
  bool write(uint32_t offset, const void* from, uint32_t sizeBytes) const;
  template <class T>
  bool read(uint32_t offset, T* value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return read(offset, value, sizeof(T));
  }

 private:
  uint16_t head_ = 0;
  uint32_t readableCount_ = 0;
  uint32_t count_ = 0;
  uint32_t readableBytes_ = 0;
  uint32_t writableBytes_ = 0;
  iovec segments_[kMaxSegments];
};

/** The part of `from` that begins `offset` bytes in and is `sizeBytes` long, in `to`; answers how many pieces. */
uint32_t slice(Span<const iovec> from, uint64_t offset, uint64_t sizeBytes, iovec (&to)[Chain::kMaxSegments]);

}  // namespace bulkhead::vm
