#include "boot/late_blocks.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "boot/source.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

uint64_t addressOf(const void* host) {
  return reinterpret_cast<uint64_t>(host);
}

}  // namespace

Result<std::unique_ptr<LateBlocks>> LateBlocks::create(const Fd& device) {
  Fd faults = TRY(sys::opened("ioctl USERFAULTFD_IOC_NEW",
                              [&] { return ioctl(device.get(), USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK); }));
  struct uffdio_api api = {UFFD_API, 0, 0};
  TRY(sys::check("ioctl UFFDIO_API", [&] { return ioctl(faults.get(), UFFDIO_API, &api); }));
  std::unique_ptr<LateBlocks> late(new LateBlocks(std::move(faults), TRY(EventFd::create())));
  late->reservation_ =
      mmap(nullptr, 2 * kBlock, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (late->reservation_ == MAP_FAILED) {
    late->reservation_ = nullptr;
    return failure("mmap", errno, "a block aside");
  }
  const uint64_t aligned = (addressOf(late->reservation_) + kBlock - 1) / kBlock * kBlock;
  late->aside_ = reinterpret_cast<uint8_t*>(aligned);
  // As the guest's RAM is, whose part it becomes.
  madvise(late->aside_, kBlock, MADV_DONTDUMP);
  madvise(late->aside_, kBlock, MADV_HUGEPAGE);
  return late;
}

LateBlocks::~LateBlocks() {
  stop_.signal();
  if (started_) pthread_join(thread_, nullptr);
  if (reservation_ != nullptr) munmap(reservation_, 2 * kBlock);
}

Status LateBlocks::take(const Fd& file, uint64_t offset, uint8_t* host, uint64_t sizeBytes) {
  files_.push_back(TRY(sys::duplicate(file.get(), 3)));
  for (uint64_t done = 0; done < sizeBytes; done += kBlock) {
    blocks_.push_back({files_.size() - 1, offset + done, host + done});
  }
  return Done{};
}

Status LateBlocks::start(Calls calls) {
  if (blocks_.empty()) return Done{};
  calls_ = std::move(calls);
  for (const Block& block : blocks_) {
    struct uffdio_register wanted = {{addressOf(block.host), kBlock}, UFFDIO_REGISTER_MODE_MISSING, 0};
    TRY(sys::check("ioctl UFFDIO_REGISTER", [&] { return ioctl(faults_.get(), UFFDIO_REGISTER, &wanted); }));
  }
  const int err = pthread_create(&thread_, nullptr, enter, this);
  if (err != 0) return failure("pthread_create", err, "late blocks");
  started_ = true;
  return Done{};
}

void* LateBlocks::enter(void* self) {
  auto* late = static_cast<LateBlocks*>(self);
  pthread_setname_np(pthread_self(), "late blocks");
  const Status done = late->bringAll();
  if (!done.ok()) late->calls_.lost(done.error().err);
  // Whoever still waits goes on: at the machine's end, or where a file had too little.
  late->faults_ = Fd();
  late->files_.clear();
  return nullptr;
}

Status LateBlocks::bringAll() {
  if (calls_.confine) TRY(calls_.confine());
  if (!waitForFirst()) return Done{};
  for (size_t next = 0; next < blocks_.size() && !stop_.take();) {
    Block* const first = wanted();
    TRY(bring(first != nullptr ? first : &blocks_[next]));
    if (first == nullptr) ++next;
  }
  return Done{};
}

bool LateBlocks::waitForFirst() const {
  struct pollfd either[] = {{faults_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  while (poll(either, 2, -1) < 0 && errno == EINTR) continue;
  return either[1].revents == 0;
}

LateBlocks::Block* LateBlocks::wanted() {
  struct uffd_msg message;
  while (read(faults_.get(), &message, sizeof message) == sizeof message) {
    if (message.event != UFFD_EVENT_PAGEFAULT) continue;
    for (Block& block : blocks_) {
      const uint64_t from = addressOf(block.host);
      if (message.arg.pagefault.address >= from && message.arg.pagefault.address - from < kBlock) return &block;
    }
  }
  return nullptr;
}

Status LateBlocks::bring(Block* block) {
  if (!block->present) {
    TRY(readWhole(files_[block->file], block->offset, aside_, kBlock));
    // With its pages, also one large one; what was in its place goes, and so does the wish to hear of faults there.
    void* const put = mremap(aside_, kBlock, kBlock, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, block->host);
    if (put == MAP_FAILED) return failure("mremap", errno, "late block");
    block->present = true;
  }
  // Also when it is there: a fault may have been under way when it came.
  struct uffdio_range range = {addressOf(block->host), kBlock};
  return sys::check("ioctl UFFDIO_WAKE", [&] { return ioctl(faults_.get(), UFFDIO_WAKE, &range); });
}

}  // namespace bulkhead::vm
