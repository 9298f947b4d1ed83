#include "boot/source.h"

#include <algorithm>
#include <cerrno>
#include <vector>

#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

Status refuseOutside(uint64_t offset, uint64_t size, uint64_t fileBytes) {
  if (offset <= fileBytes && size <= fileBytes - offset) return Done{};
  return failure("image", EBADMSG, "it ends before what it says it holds");
}

}  // namespace

Status Source::load(uint64_t offset, const GuestMemory& memory, uint64_t address, uint64_t size) const {
  // It stays in a processor's cache between being read and being written.
  constexpr uint64_t kPieceBytes = 256 * 1024;
  std::vector<uint8_t> piece(std::min(size, kPieceBytes));
  for (uint64_t done = 0; done < size;) {
    const uint64_t here = std::min(size - done, kPieceBytes);
    TRY(read(offset + done, piece.data(), here));
    memory.fill(address + done, piece.data(), here);
    done += here;
  }
  return Done{};
}

Result<FileSource> FileSource::open(Fd file) {
  // A block device says its size here only.
  const off_t size = lseek(file.get(), 0, SEEK_END);
  if (size < 0) return failure("lseek", errno, "image");
  return FileSource(std::move(file), static_cast<uint64_t>(size));
}

Status FileSource::read(uint64_t offset, void* to, uint64_t size) const {
  TRY(refuseOutside(offset, size, sizeBytes_));
  auto* bytes = static_cast<uint8_t*>(to);
  while (size > 0) {
    const long count = sys::retry([&] { return pread(file_.get(), bytes, size, static_cast<off_t>(offset)); });
    if (count < 0) return failure("pread", errno, "image");
    if (count == 0) return failure("image", EBADMSG, "it became shorter while it was read");
    bytes += count;
    offset += static_cast<uint64_t>(count);
    size -= static_cast<uint64_t>(count);
  }
  return Done{};
}

Status FileSource::load(uint64_t offset, const GuestMemory& memory, uint64_t address, uint64_t size) const {
  TRY(refuseOutside(offset, size, sizeBytes_));
  const uint64_t done = memory.take(address, size, file_.get(), offset);
  return Source::load(offset + done, memory, address + done, size - done);
}

Status BytesSource::read(uint64_t offset, void* to, uint64_t size) const {
  TRY(refuseOutside(offset, size, bytes_.size()));
  if (size > 0) memcpy(to, bytes_.data() + offset, size);
  return Done{};
}

}  // namespace bulkhead::vm
