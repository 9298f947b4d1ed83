#include "virtio/gathered.h"

#include <algorithm>
#include <cstring>

namespace bulkhead::vm {

Result<bool> Gathered::reach(uint64_t sizeBytes) {
  while (room_ < sizeBytes) {
    if (!TRY(queue_->pop(&chain_))) return false;
    const Span<const iovec> writable = chain_.writable();
    if (pieces().count + writable.count > kMaxPieces) {
      queue_->putBack();
      return false;
    }
    taken_.push_back({chain_.head(), chain_.writableBytes(), writable.count});
    pieces_.insert(pieces_.end(), writable.begin(), writable.end());
    room_ += chain_.writableBytes();
  }
  return true;
}

bool Gathered::write(uint32_t offset, const void* from, uint32_t sizeBytes) {
  if (firstTaken_ == taken_.size() || offset + sizeBytes > taken_[firstTaken_].sizeBytes) return false;
  const auto* bytes = static_cast<const uint8_t*>(from);
  for (const iovec& piece : pieces()) {
    if (offset >= piece.iov_len) {
      offset -= static_cast<uint32_t>(piece.iov_len);
      continue;
    }
    const auto here = std::min(sizeBytes, static_cast<uint32_t>(piece.iov_len) - offset);
    memcpy(static_cast<uint8_t*>(piece.iov_base) + offset, bytes, here);
    bytes += here;
    sizeBytes -= here;
    offset = 0;
    if (sizeBytes == 0) break;
  }
  return true;
}

uint16_t Gathered::countFor(uint32_t sizeBytes) const {
  uint16_t count = 0;
  for (size_t index = firstTaken_; index < taken_.size() && sizeBytes > 0; ++index, ++count) {
    sizeBytes -= std::min(sizeBytes, taken_[index].sizeBytes);
  }
  return count;
}

void Gathered::give(uint32_t sizeBytes) {
  while (sizeBytes > 0 && firstTaken_ < taken_.size()) {
    const Taken& taken = taken_[firstTaken_++];
    const uint32_t here = std::min(sizeBytes, taken.sizeBytes);
    queue_->push(taken.head, here);
    sizeBytes -= here;
    firstPiece_ += taken.pieces;
    room_ -= taken.sizeBytes;
  }
  if (firstTaken_ < taken_.size() / 2) return;
  // What is used up goes when it is the greater part.
  taken_.erase(taken_.begin(), taken_.begin() + static_cast<std::ptrdiff_t>(firstTaken_));
  pieces_.erase(pieces_.begin(), pieces_.begin() + static_cast<std::ptrdiff_t>(firstPiece_));
  firstTaken_ = firstPiece_ = 0;
}

void Gathered::putBack() {
  queue_->putBack(static_cast<uint16_t>(taken_.size() - firstTaken_));
  taken_.clear();
  pieces_.clear();
  firstTaken_ = firstPiece_ = room_ = 0;
}

}  // namespace bulkhead::vm
