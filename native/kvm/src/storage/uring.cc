#include "storage/uring.h"

#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

template <class T>
Status registerWith(int ring, unsigned operation, T* argument, unsigned count) {
  return sys::check("io_uring_register",
                    [&] { return syscall(SYS_io_uring_register, ring, operation, argument, count); });
}

io_uring_restriction allowed(uint8_t operation) {
  io_uring_restriction restriction = {};
  restriction.opcode = IORING_RESTRICTION_SQE_OP;
  restriction.sqe_op = operation;
  return restriction;
}

/** Everything that is registered is registered before; then no other file and no other operation exists for it. */
Status confine(int ring) {
  io_uring_restriction restrictions[6] = {allowed(IORING_OP_READV), allowed(IORING_OP_WRITEV), allowed(IORING_OP_FSYNC),
                                          allowed(IORING_OP_FALLOCATE)};
  restrictions[4].opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED;
  restrictions[4].sqe_flags = IOSQE_FIXED_FILE;
  restrictions[5].opcode = IORING_RESTRICTION_REGISTER_OP;
  restrictions[5].register_op = IORING_REGISTER_ENABLE_RINGS;
  TRY(registerWith(ring, IORING_REGISTER_RESTRICTIONS, restrictions, 6));
  return registerWith<void>(ring, IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
}

}  // namespace

Result<Uring> Uring::create(uint32_t entries, int file, int eventFd) {
  io_uring_params params = {};
  params.flags = IORING_SETUP_R_DISABLED;
  Fd fd = TRY(sys::opened("io_uring_setup", [&] { return syscall(SYS_io_uring_setup, entries, &params); }));
  if ((params.features & IORING_FEAT_SINGLE_MMAP) == 0) return failure("io_uring_setup", ENOSYS, "one mapping");
  const size_t bytes = std::max<size_t>(params.sq_off.array + params.sq_entries * sizeof(uint32_t),
                                        params.cq_off.cqes + params.cq_entries * sizeof(io_uring_cqe));
  Mapping rings = TRY(Mapping::create(fd.get(), bytes, IORING_OFF_SQ_RING, "io_uring"));
  Mapping places =
      TRY(Mapping::create(fd.get(), params.sq_entries * sizeof(io_uring_sqe), IORING_OFF_SQES, "io_uring"));
  TRY(registerWith(fd.get(), IORING_REGISTER_FILES, &file, 1));
  TRY(registerWith(fd.get(), IORING_REGISTER_EVENTFD, &eventFd, 1));
  TRY(confine(fd.get()));
  return Uring(std::move(fd), std::move(rings), std::move(places), {params.sq_off, params.cq_off});
}

Uring::Uring(Fd fd, Mapping rings, Mapping entries, const Offsets& offsets)
    : fd_(std::move(fd)),
      rings_(std::move(rings)),
      entries_(std::move(entries)),
      submissionHead_(rings_.at<uint32_t>(offsets.submission.head)),
      submissionTail_(rings_.at<uint32_t>(offsets.submission.tail)),
      submissionPlaces_(rings_.at<uint32_t>(offsets.submission.array)),
      submissionSize_(*rings_.at<uint32_t>(offsets.submission.ring_entries)),
      completionHead_(rings_.at<uint32_t>(offsets.completion.head)),
      completionTail_(rings_.at<uint32_t>(offsets.completion.tail)),
      completions_(rings_.at<io_uring_cqe>(offsets.completion.cqes)),
      completionSize_(*rings_.at<uint32_t>(offsets.completion.ring_entries)) {}

io_uring_sqe* Uring::next() {
  if (tail_ - __atomic_load_n(submissionHead_, __ATOMIC_ACQUIRE) == submissionSize_) return nullptr;
  const uint32_t place = tail_ % submissionSize_;
  submissionPlaces_[place] = place;
  ++tail_;
  auto* entry = entries_.at<io_uring_sqe>(place * sizeof(io_uring_sqe));
  memset(entry, 0, sizeof *entry);
  return entry;
}

Status Uring::enter(uint32_t atLeast) {
  __atomic_store_n(submissionTail_, tail_, __ATOMIC_RELEASE);
  const uint32_t waiting = tail_ - __atomic_load_n(submissionHead_, __ATOMIC_ACQUIRE);
  if (waiting == 0 && atLeast == 0) return Done{};
  const unsigned flags = atLeast > 0 ? IORING_ENTER_GETEVENTS : 0;
  return sys::check("io_uring_enter",
                    [&] { return syscall(SYS_io_uring_enter, fd_.get(), waiting, atLeast, flags, nullptr, 0); });
}

bool Uring::reap(Completed* completed) {
  const uint32_t head = *completionHead_;
  if (head == __atomic_load_n(completionTail_, __ATOMIC_ACQUIRE)) return false;
  const io_uring_cqe& entry = completions_[head % completionSize_];
  *completed = {entry.user_data, entry.res};
  __atomic_store_n(completionHead_, head + 1, __ATOMIC_RELEASE);
  return true;
}

}  // namespace bulkhead::vm
