#include "boot/source.h"

#include <cerrno>

#include "boot/late_blocks.h"
#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

/** Less than this is copied in a millisecond, for which no thread is worth making. */
constexpr uint64_t kWorthwhile = 4 * layout::kMiB;

Status refuseOutside(uint64_t offset, uint64_t size, uint64_t fileBytes) {
  if (offset <= fileBytes && size <= fileBytes - offset) return Done{};
  return failure("image", EBADMSG, "it ends before what it says it holds");
}

}  // namespace

Status Source::load(uint64_t offset, const GuestMemory& memory, uint64_t address, uint64_t size) const {
  uint8_t* const to = memory.at(address, size);
  if (to == nullptr && size > 0) return failure("image", ENOMEM, "it reaches out of the guest's RAM");
  return read(offset, to, size);
}

Result<FileSource> FileSource::open(Fd file) {
  // A block device says its size here only.
  const off_t size = lseek(file.get(), 0, SEEK_END);
  if (size < 0) return failure("lseek", errno, "image");
  return FileSource(std::move(file), static_cast<uint64_t>(size));
}

bool FileSource::isLarge() const {
  return sizeBytes_ >= kWorthwhile;
}

Status FileSource::read(uint64_t offset, void* to, uint64_t size) const {
  TRY(refuseOutside(offset, size, sizeBytes_));
  return readWhole(file_, offset, to, size);
}

Status readWhole(const Fd& file, uint64_t offset, void* to, uint64_t size) {
  auto* bytes = static_cast<uint8_t*>(to);
  while (size > 0) {
    const long count = sys::retry([&] { return pread(file.get(), bytes, size, static_cast<off_t>(offset)); });
    if (count < 0) return failure("pread", errno, "image");
    if (count == 0) return failure("image", EBADMSG, "it became shorter while it was read");
    bytes += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<uint64_t>(count);
  }
  return Done{};
}

Status FileSource::load(uint64_t offset, const GuestMemory& memory, uint64_t address, uint64_t size) const {
  uint8_t* const to = memory.at(address, size);
  if (late_ == nullptr || !memory.mayComeLate() || to == nullptr || size < kWorthwhile) {
    return Source::load(offset, memory, address, size);
  }
  TRY(refuseOutside(offset, size, sizeBytes_));
  constexpr uint64_t kBlock = LateBlocks::kBlock;
  const uint64_t before = (kBlock - reinterpret_cast<uint64_t>(to) % kBlock) % kBlock;
  const uint64_t blocks = (size - before) / kBlock * kBlock;
  const uint64_t end = before + blocks;
  TRY(read(offset, to, before));
  TRY(read(offset + end, to + end, size - end));
  return late_->take(file_, offset + before, to + before, blocks);
}

Status BytesSource::read(uint64_t offset, void* to, uint64_t size) const {
  TRY(refuseOutside(offset, size, bytes_.size()));
  if (size > 0) memcpy(to, bytes_.data() + offset, size);
  return Done{};
}

}  // namespace bulkhead::vm
