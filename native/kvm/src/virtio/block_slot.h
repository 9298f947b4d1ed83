// A request of a disk's driver that the disk is at.
#pragma once

#include <vector>

#include "storage/disk_io.h"
#include "virtio/chain.h"

namespace bulkhead::vm {

/** The disk is asked for one part after another, so that no part takes long. */
class BlockSlot {
 public:
  /** Of data in one part: what the host has in its memory is copied while everybody else waits. */
  static constexpr uint64_t kPartBytes = 4 << 20;

  /** A request whose outcome the guest wants at `status`. */
  void begin(uint16_t head, uint8_t* status);
  /** What it moves, from `offset` of the disk on. */
  void move(Span<const iovec> buffers, uint64_t offset, uint64_t sizeBytes);
  /** How the disk did with a part. True when there is another; otherwise says how it ended in `failed`, -errno or 0. */
  bool goesOn(int64_t result, int* failed);

  uint16_t head() const { return head_; }
  uint8_t* status() const { return status_; }
  uint64_t wantedBytes() const { return wantedBytes_; }
  uint64_t partBytes() const { return partBytes_; }

  /** The part that is next. */
  DiskRequest request;
  /** When all is done, it is flushed before the guest hears of it. */
  bool flushes = false;
  /** Of what was written to the guest's buffers, or would have been to the disk. */
  uint64_t movedBytes = 0;

 private:
  void cut();

  uint16_t head_ = 0;
  uint8_t* status_ = nullptr;
  /** What is still to be moved, and of that the part. */
  std::vector<iovec> buffers_;
  std::vector<iovec> part_;
  uint64_t wantedBytes_ = 0;
  uint64_t partBytes_ = 0;
};

}  // namespace bulkhead::vm
