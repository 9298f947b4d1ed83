// Buffers of a driver that hold what comes next, before it is known how long that is.
#pragma once

#include <vector>

#include "virtio/queue.h"

namespace bulkhead::vm {

/** Requests taken from a queue ahead of their use. What is not used goes back when this does. */
class Gathered {
 public:
  /** As many as one system call takes. */
  static constexpr size_t kMaxPieces = 1024;

  explicit Gathered(Queue* queue) : queue_(queue) {}
  Gathered(const Gathered&) = delete;
  Gathered& operator=(const Gathered&) = delete;
  ~Gathered() { putBack(); }

  /** Takes more until there is room for so many bytes; false when the driver has not given that much. */
  Result<bool> reach(uint64_t sizeBytes);
  /** What there is room in. */
  Span<const iovec> pieces() const {
    return {pieces_.data() + firstPiece_, static_cast<uint32_t>(pieces_.size() - firstPiece_)};
  }
  /** Copies to the beginning of the first request; false when that is too small. */
  bool write(uint32_t offset, const void* from, uint32_t sizeBytes);
  /** How many requests the first so many bytes lie in. */
  uint16_t countFor(uint32_t sizeBytes) const;
  /** Gives those back to the driver, filled. */
  void give(uint32_t sizeBytes);
  /** Everything that is left stays with the driver. */
  void putBack();

 private:
  struct Taken {
    uint16_t head;
    uint32_t sizeBytes;
    uint32_t pieces;
  };

  Queue* queue_;
  std::vector<Taken> taken_;
  std::vector<iovec> pieces_;
  size_t firstTaken_ = 0;
  size_t firstPiece_ = 0;
  uint64_t room_ = 0;
  Chain chain_;
};

}  // namespace bulkhead::vm
