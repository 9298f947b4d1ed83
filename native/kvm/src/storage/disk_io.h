// Moving data between a disk's file and memory, by io_uring where the host allows it and one by one where not.
#pragma once

#include <sys/uio.h>

#include <memory>

#include "events/event_fd.h"

namespace bulkhead::vm {

enum class Transfer { read, write, flush, deallocate, zero };

struct DiskRequest {
  Transfer transfer = Transfer::flush;
  uint64_t offset = 0;
  /** Of a deallocation or zeroes; reading and writing is as long as the buffers. */
  uint64_t sizeBytes = 0;
  /** They stay where they are until the request is completed. */
  const iovec* buffers = nullptr;
  uint32_t bufferCount = 0;
  /** On stable storage when it is completed. */
  bool durable = false;
};

struct DiskCompletion {
  /** As given to `start`. */
  uint64_t number;
  /** Bytes moved, which may be fewer than wanted; -errno. */
  int64_t result;
};

class DiskIo {
 public:
  /** Requests that may be started and not completed. */
  static constexpr uint32_t kDepth = 128;

  /** io_uring; one by one where that cannot be had, or is not wanted. `file` outlives it. */
  static Result<std::unique_ptr<DiskIo>> create(int file, bool oneByOne);
  virtual ~DiskIo() = default;

  virtual bool isOneByOne() const = 0;
  /** Takes a request; nothing need happen before `submit`. */
  virtual void start(uint64_t number, const DiskRequest& request) = 0;
  /** What is completed when it returns is there for `next`, and need not be told. */
  virtual Status submit() = 0;
  /** Submits, and waits for a completion; there is a request started. */
  virtual Status wait() = 0;
  virtual bool next(DiskCompletion* completion) = 0;
  /** Readable when there are completions since the last `submit`; taken before they are. */
  const EventFd& completed() const { return completed_; }

 protected:
  explicit DiskIo(EventFd completed) : completed_(std::move(completed)) {}

 private:
  EventFd completed_;
};

}  // namespace bulkhead::vm
