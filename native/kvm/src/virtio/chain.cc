#include "virtio/chain.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace bulkhead::vm {
namespace {

Error broken(std::string_view rule) {
  return failure("virtqueue", EPROTO, rule);
}

/** Calls `copy(buffer, done, size)` for each piece of the range. */
template <class Copy>
void overRange(Span<const iovec> buffers, uint32_t offset, uint32_t sizeBytes, Copy copy) {
  uint32_t done = 0;
  for (const iovec& buffer : buffers) {
    if (done == sizeBytes) return;
    if (offset >= buffer.iov_len) {
      offset -= static_cast<uint32_t>(buffer.iov_len);
      continue;
    }
    const auto here = static_cast<uint32_t>(std::min<uint64_t>(buffer.iov_len - offset, sizeBytes - done));
    copy(static_cast<uint8_t*>(buffer.iov_base) + offset, done, here);
    done += here;
    offset = 0;
  }
}

}  // namespace

void Chain::begin(uint16_t head) {
  head_ = head;
  readableCount_ = count_ = readableBytes_ = writableBytes_ = 0;
}

Status Chain::add(const ring::Descriptor& descriptor, const GuestMemory& memory) {
  if (count_ == kMaxSegments) return broken("a chain is longer than its queue");
  if ((descriptor.flags & ring::kIndirect) != 0) return broken("an indirect descriptor, which was not offered");
  if (descriptor.sizeBytes == 0) return broken("a buffer of no bytes");
  uint8_t* const host = memory.at(descriptor.address, descriptor.sizeBytes);
  if (host == nullptr) return broken("a buffer outside the guest's RAM");
  const bool writable = (descriptor.flags & ring::kWritable) != 0;
  if (!writable && readableCount_ != count_) return broken("a buffer to read behind one to write");
  // A driver's buffers of one kind are below 4 GiB together, and our sums 32 bits wide.
  uint32_t& sum = writable ? writableBytes_ : readableBytes_;
  if (__builtin_add_overflow(sum, descriptor.sizeBytes, &sum)) return broken("a chain of 4 GiB");
  segments_[count_++] = {host, descriptor.sizeBytes};
  if (!writable) ++readableCount_;
  return Done{};
}

bool Chain::read(uint32_t offset, void* to, uint32_t sizeBytes) const {
  if (offset > readableBytes_ || sizeBytes > readableBytes_ - offset) return false;
  overRange(readable(), offset, sizeBytes, [&](const uint8_t* buffer, uint32_t done, uint32_t here) {
    memcpy(static_cast<uint8_t*>(to) + done, buffer, here);
  });
  return true;
}

bool Chain::write(uint32_t offset, const void* from, uint32_t sizeBytes) const {
  if (offset > writableBytes_ || sizeBytes > writableBytes_ - offset) return false;
  overRange(writable(), offset, sizeBytes, [&](uint8_t* buffer, uint32_t done, uint32_t here) {
    memcpy(buffer, static_cast<const uint8_t*>(from) + done, here);
  });
  return true;
}

uint32_t slice(Span<const iovec> from, uint64_t offset, uint64_t sizeBytes, iovec (&to)[Chain::kMaxSegments]) {
  uint32_t count = 0;
  for (const iovec& buffer : from) {
    if (sizeBytes == 0 || count == Chain::kMaxSegments) break;
    if (offset >= buffer.iov_len) {
      offset -= buffer.iov_len;
      continue;
    }
    const uint64_t here = std::min<uint64_t>(buffer.iov_len - offset, sizeBytes);
    to[count++] = {static_cast<uint8_t*>(buffer.iov_base) + offset, here};
    sizeBytes -= here;
    offset = 0;
  }
  return count;
}

}  // namespace bulkhead::vm
