#include "memory/guest_memory.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>

#include <cerrno>

#include "memory/layout.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kAlignment = 2 * layout::kMiB;
/** More than any machine has that this runs on, and far from where sums overflow. */
constexpr uint64_t kMaxBytes = 4096 * layout::kGiB;

Result<Fd> createFile(const MemoryOptions& options) {
  const unsigned huge = options.hugepages ? MFD_HUGETLB | MFD_HUGE_2MB : 0;
  Fd file = TRY(sys::memoryFile("guest-memory", MFD_ALLOW_SEALING | huge));
  TRY(sys::check("ftruncate", [&] { return ftruncate(file.get(), static_cast<off_t>(options.sizeBytes)); }));
  // A file that shrank under the mapping would end this process with SIGBUS.
  constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  TRY(sys::check("fcntl F_ADD_SEALS", [&] { return fcntl(file.get(), F_ADD_SEALS, kSeals); }));
  return file;
}

Status prepare(void* base, const MemoryOptions& options) {
  madvise(base, options.sizeBytes, MADV_DONTDUMP);
  // Where the host forbids large pages for shared memory, small ones do.
  if (!options.hugepages) madvise(base, options.sizeBytes, MADV_HUGEPAGE);
  if (!options.locked) return Done{};
  TRY(sys::check(
      "madvise MADV_POPULATE_WRITE", [&] { return madvise(base, options.sizeBytes, MADV_POPULATE_WRITE); },
      "guest memory"));
  return sys::check(
      "mlock", [&] { return mlock(base, options.sizeBytes); }, "guest memory");
}

}  // namespace

Result<GuestMemory> GuestMemory::create(const MemoryOptions& options) {
  if (options.sizeBytes == 0 || options.sizeBytes % kAlignment != 0 || options.sizeBytes > kMaxBytes) {
    return failure("guest memory", EINVAL, "its size is a multiple of 2 MiB, at most 4 TiB");
  }
  GuestMemory memory;
  memory.file_ = TRY(createFile(options));
  memory.sizeBytes_ = options.sizeBytes;
  // A guard on both sides, and room to align: device code that runs over an end is caught by the kernel.
  memory.reservedBytes_ = options.sizeBytes + 3 * kAlignment;
  void* reservation =
      mmap(nullptr, memory.reservedBytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reservation == MAP_FAILED) return failure("mmap", errno, "reservation for guest memory");
  memory.reservation_ = reservation;
  const uint64_t first = reinterpret_cast<uint64_t>(reservation) + kAlignment;
  void* const base = reinterpret_cast<void*>((first + kAlignment - 1) / kAlignment * kAlignment);
  if (mmap(base, options.sizeBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory.file_.get(), 0) ==
      MAP_FAILED) {
    return failure("mmap", errno, "guest memory");
  }
  TRY(prepare(base, options));
  uint8_t* const host = static_cast<uint8_t*>(base);
  const uint64_t low = options.sizeBytes < layout::kLowRamEnd ? options.sizeBytes : layout::kLowRamEnd;
  memory.regions_[memory.regionCount_++] = {0, low, host};
  if (options.sizeBytes > low) {
    memory.regions_[memory.regionCount_++] = {layout::kHighRam, options.sizeBytes - low, host + low};
  }
  return memory;
}

GuestMemory::GuestMemory(GuestMemory&& other) noexcept
    : file_(std::move(other.file_)),
      reservation_(std::exchange(other.reservation_, nullptr)),
      reservedBytes_(other.reservedBytes_),
      sizeBytes_(other.sizeBytes_),
      regions_{other.regions_[0], other.regions_[1]},
      regionCount_(std::exchange(other.regionCount_, 0)) {}

GuestMemory::~GuestMemory() {
  if (reservation_ != nullptr) munmap(reservation_, reservedBytes_);
}

void GuestMemory::discard(uint8_t* host, uint64_t sizeBytes) const {
  // Out of the file, not only out of this mapping of it.
  madvise(host, sizeBytes, MADV_REMOVE);
}

uint8_t* GuestMemory::at(uint64_t address, uint64_t sizeBytes) const {
  if (sizeBytes == 0) return nullptr;
  for (const Region& region : regions()) {
    if (address < region.address) continue;
    const uint64_t offset = address - region.address;
    if (offset < region.sizeBytes && sizeBytes <= region.sizeBytes - offset) return region.host + offset;
  }
  return nullptr;
}

}  // namespace bulkhead::vm
