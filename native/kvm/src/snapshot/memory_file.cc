#include "snapshot/memory_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "sys/retry.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kPage = kFramePage;

/** The file's last page. */
struct Tail {
  char magic[8] = {'B', 'L', 'K', 'H', 'R', 'A', 'M', '\n'};
  SnapshotId id = {};
  uint8_t unused[kPage - 24] = {};
};
static_assert(sizeof(Tail) == kPage);

struct Extent {
  uint64_t from;
  uint64_t to;
};

/** The next part of a file that is no hole, at or after `from`; all the rest where the file system does not say. */
Extent nextData(const Fd& file, uint64_t from, uint64_t end) {
  if (!file.valid()) return {from, end};
  const off_t data = lseek(file.get(), static_cast<off_t>(from), SEEK_DATA);
  if (data < 0) return {errno == ENXIO ? end : from, end};
  const off_t hole = lseek(file.get(), data, SEEK_HOLE);
  return {std::min(static_cast<uint64_t>(data), end), hole < 0 ? end : std::min(static_cast<uint64_t>(hole), end)};
}

bool isZero(const uint8_t* page) {
  uint64_t any = 0;
  for (uint64_t at = 0; at < kPage; at += sizeof any) {
    uint64_t word;
    memcpy(&word, page + at, sizeof word);
    any |= word;
  }
  return any == 0;
}

/** Whole pages, without those that are zero. */
Status sendPages(const uint8_t* host, const Extent& extent, const FrameSender& to) {
  for (uint64_t from = extent.from; from < extent.to;) {
    uint64_t end = from;
    while (end < extent.to && end - from < kMaxFrameBytes && !isZero(host + end)) end += kPage;
    if (end > from) TRY(to.memory(from, {reinterpret_cast<const char*>(host + from), end - from}));
    from = end > from ? end : from + kPage;
  }
  return Done{};
}

Status readAll(const Fd& file, const GuestMemory& memory) {
  for (uint64_t from = 0; from < memory.sizeBytes();) {
    Extent extent = nextData(file, from, memory.sizeBytes());
    while (extent.from < extent.to) {
      const long count = sys::retry([&] {
        return pread(file.get(), memory.host() + extent.from, extent.to - extent.from, static_cast<off_t>(extent.from));
      });
      if (count <= 0) return failure("pread", count < 0 ? errno : EBADMSG, "memory file");
      extent.from += static_cast<uint64_t>(count);
    }
    from = extent.to;
  }
  return Done{};
}

}  // namespace

Status saveMemory(const GuestMemory& memory, const SnapshotId& id, const FrameSender& to) {
  Tail tail;
  tail.id = id;
  const uint64_t size = memory.sizeBytes();
  for (uint64_t from = 0; from < size;) {
    Extent extent = nextData(memory.file(), from, size);
    extent.from = extent.from / kPage * kPage;
    TRY(sendPages(memory.host(), extent, to));
    from = std::max(extent.to, from + kPage);
  }
  return to.memory(size, {reinterpret_cast<const char*>(&tail), sizeof tail});
}

Result<GuestMemory> openMemory(const Fd& file, const SnapshotId& id, const MemoryOptions& options) {
  const off_t size = lseek(file.get(), 0, SEEK_END);
  if (size < 0) return failure("lseek", errno, "memory file");
  Tail tail;
  const uint64_t wanted = options.sizeBytes + sizeof tail;
  if (static_cast<uint64_t>(size) != wanted) {
    return failure("memory file", EBADMSG, "it is not as long as its snapshot says");
  }
  const long count =
      sys::retry([&] { return pread(file.get(), &tail, sizeof tail, static_cast<off_t>(options.sizeBytes)); });
  if (count != static_cast<long>(sizeof tail) || memcmp(tail.magic, Tail{}.magic, sizeof tail.magic) != 0 ||
      tail.id != id) {
    return failure("memory file", EBADMSG, "it belongs to another snapshot");
  }
  if (!options.locked && !options.hugepages) return GuestMemory::mapPrivate(file, options);
  GuestMemory memory = TRY(GuestMemory::create(options));
  TRY(readAll(file, memory));
  return memory;
}

}  // namespace bulkhead::vm
