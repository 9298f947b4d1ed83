#include "virtio/block_slot.h"

#include <cerrno>

namespace bulkhead::vm {

void BlockSlot::begin(uint16_t head, uint8_t* status) {
  head_ = head;
  status_ = status;
  request = {};
  flushes = false;
  wantedBytes_ = partBytes_ = movedBytes = 0;
}

void BlockSlot::move(Span<const iovec> buffers, uint64_t offset, uint64_t sizeBytes) {
  buffers_.assign(buffers.begin(), buffers.end());
  request.offset = offset;
  wantedBytes_ = sizeBytes;
  cut();
}

bool BlockSlot::goesOn(int64_t result, int* failed) {
  *failed = result < 0 ? static_cast<int>(result) : 0;
  if (result < 0) return false;
  movedBytes += static_cast<uint64_t>(result);
  if (movedBytes >= wantedBytes_) {
    if (!flushes) return false;
    flushes = false;
    request = {};
    return true;
  }
  if (result == 0) {
    // The file has become shorter.
    *failed = -EIO;
    return false;
  }
  iovec left[Chain::kMaxSegments];
  const Span<const iovec> all = {buffers_.data(), static_cast<uint32_t>(buffers_.size())};
  const uint32_t count = slice(all, static_cast<uint64_t>(result), ~uint64_t{0}, left);
  buffers_.assign(left, left + count);
  request.offset += static_cast<uint64_t>(result);
  cut();
  return true;
}

void BlockSlot::cut() {
  partBytes_ = wantedBytes_ - movedBytes;
  const std::vector<iovec>* from = &buffers_;
  if (partBytes_ > kPartBytes) {
    partBytes_ = kPartBytes;
    iovec pieces[Chain::kMaxSegments];
    const Span<const iovec> all = {buffers_.data(), static_cast<uint32_t>(buffers_.size())};
    const uint32_t count = slice(all, 0, kPartBytes, pieces);
    part_.assign(pieces, pieces + count);
    from = &part_;
  }
  request.buffers = from->data();
  request.bufferCount = static_cast<uint32_t>(from->size());
}

}  // namespace bulkhead::vm
