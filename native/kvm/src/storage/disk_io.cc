#include "storage/disk_io.h"

#include <fcntl.h>

#include <deque>
#include <utility>

#include "storage/uring.h"

namespace bulkhead::vm {
namespace {

int fallocateMode(Transfer transfer) {
  return FALLOC_FL_KEEP_SIZE | (transfer == Transfer::zero ? FALLOC_FL_ZERO_RANGE : FALLOC_FL_PUNCH_HOLE);
}

class OneByOne : public DiskIo {
 public:
  OneByOne(int file, EventFd completed) : DiskIo(std::move(completed)), file_(file) {}

  bool isOneByOne() const override { return true; }
  void start(uint64_t number, const DiskRequest& request) override {
    const long result = sys::retry([&] { return carryOut(request); });
    completions_.push_back({number, result < 0 ? -errno : result});
  }
  Status submit() override { return Done{}; }
  Status wait() override { return Done{}; }
  bool next(DiskCompletion* completion) override {
    if (completions_.empty()) return false;
    *completion = completions_.front();
    completions_.pop_front();
    return true;
  }

 private:
  long carryOut(const DiskRequest& request) const {
    const int count = static_cast<int>(request.bufferCount);
    const auto offset = static_cast<off_t>(request.offset);
    switch (request.transfer) {
      case Transfer::read:
        return preadv(file_, request.buffers, count, offset);
      case Transfer::write:
        return pwritev2(file_, request.buffers, count, offset, request.durable ? RWF_DSYNC : 0);
      case Transfer::flush:
        return fdatasync(file_);
      case Transfer::deallocate:
      case Transfer::zero:
        return fallocate(file_, fallocateMode(request.transfer), offset, static_cast<off_t>(request.sizeBytes));
    }
    return 0;
  }

  int file_;
  std::deque<DiskCompletion> completions_;
};

class ByUring : public DiskIo {
 public:
  ByUring(Uring ring, EventFd completed) : DiskIo(std::move(completed)), ring_(std::move(ring)) {}

  bool isOneByOne() const override { return false; }
  void start(uint64_t number, const DiskRequest& request) override {
    // There are as many places as requests.
    io_uring_sqe* const entry = ring_.next();
    started_ = true;
    entry->fd = Uring::kFile;
    entry->flags = IOSQE_FIXED_FILE;
    entry->user_data = number;
    entry->off = request.offset;
    switch (request.transfer) {
      case Transfer::read:
      case Transfer::write:
        entry->opcode = request.transfer == Transfer::read ? IORING_OP_READV : IORING_OP_WRITEV;
        entry->addr = reinterpret_cast<uint64_t>(request.buffers);
        entry->len = request.bufferCount;
        entry->rw_flags = request.durable ? RWF_DSYNC : 0;
        break;
      case Transfer::flush:
        entry->opcode = IORING_OP_FSYNC;
        entry->fsync_flags = IORING_FSYNC_DATASYNC;
        break;
      case Transfer::deallocate:
      case Transfer::zero:
        entry->opcode = IORING_OP_FALLOCATE;
        // io_uring_enter(2): the mode is in `len`, the length in `addr`.
        entry->len = static_cast<uint32_t>(fallocateMode(request.transfer));
        entry->addr = request.sizeBytes;
        break;
    }
  }
  Status submit() override {
    TRY(ring_.submit());
    // Told already, and looked for next; what is completed after this is told anew.
    if (std::exchange(started_, false)) completed().take();
    return Done{};
  }
  Status wait() override { return ring_.wait(); }
  bool next(DiskCompletion* completion) override {
    Uring::Completed completed;
    if (!ring_.reap(&completed)) return false;
    *completion = {completed.userData, completed.result};
    return true;
  }

 private:
  Uring ring_;
  /** Something is to be submitted. */
  bool started_ = false;
};

}  // namespace

Result<std::unique_ptr<DiskIo>> DiskIo::create(int file, bool oneByOne) {
  EventFd completed = TRY(EventFd::create());
  if (!oneByOne) {
    auto ring = Uring::create(kDepth, file, completed.get());
    if (ring.ok()) return std::unique_ptr<DiskIo>(std::make_unique<ByUring>(ring.take(), std::move(completed)));
  }
  return std::unique_ptr<DiskIo>(std::make_unique<OneByOne>(file, std::move(completed)));
}

}  // namespace bulkhead::vm
