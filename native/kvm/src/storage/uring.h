// io_uring(7), as much as moves data between one file and memory.
#pragma once

#include <linux/io_uring.h>

#include "memory/mapping.h"
#include "sys/fd.h"

namespace bulkhead::vm {

/**
 * One ring for one file, confined to reading, writing, syncing and deallocating it: the kernel refuses it anything
 * else. Used from one thread at a time.
 */
class Uring {
 public:
  /** The only file of a ring, as its entries name it. */
  static constexpr int kFile = 0;

  /** `entries` is a power of 2. @returns ENOSYS or EPERM where the host has or allows no io_uring */
  static Result<Uring> create(uint32_t entries, int file, int eventFd);

  /** A zeroed entry that the next `submit` submits; nullptr when there are too many. */
  io_uring_sqe* next();
  Status submit() { return enter(0); }
  /** Submits, and waits until something is completed. */
  Status wait() { return enter(1); }
  struct Completed {
    uint64_t userData;
    int32_t result;
  };
  bool reap(Completed* completed);

 private:
  struct Offsets {
    io_sqring_offsets submission;
    io_cqring_offsets completion;
  };
  Uring(Fd fd, Mapping rings, Mapping entries, const Offsets& offsets);
  Status enter(uint32_t atLeast);

  Fd fd_;
  Mapping rings_;
  Mapping entries_;
  uint32_t* submissionHead_;
  uint32_t* submissionTail_;
  uint32_t* submissionPlaces_;
  uint32_t submissionSize_;
  uint32_t* completionHead_;
  uint32_t* completionTail_;
  io_uring_cqe* completions_;
  uint32_t completionSize_;
  uint32_t tail_ = 0;
};

}  // namespace bulkhead::vm
