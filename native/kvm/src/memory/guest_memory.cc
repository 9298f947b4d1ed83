#include "memory/guest_memory.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>

#include "memory/layout.h"
#include "memory/nodes.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kAlignment = 2 * layout::kMiB;
/** More than any machine has that this runs on, and far from where sums overflow. */
constexpr uint64_t kMaxBytes = 4096 * layout::kGiB;

constexpr const char* kSizes = "its size is a multiple of 2 MiB, at most 4 TiB";

bool isSize(uint64_t bytes) {
  return bytes != 0 && bytes % kAlignment == 0 && bytes <= kMaxBytes;
}

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
  // With small pages a guest pays at each for two walks of page tables. Where the host forbids large ones, they do.
  if (!options.hugepages) madvise(base, options.sizeBytes, MADV_HUGEPAGE);
  if (!options.nodes.empty()) TRY(bindToNodes(base, options.sizeBytes, options.nodes));
  if (!options.locked) return Done{};
  TRY(sys::check(
      "madvise MADV_POPULATE_WRITE", [&] { return madvise(base, options.sizeBytes, MADV_POPULATE_WRITE); },
      "guest memory"));
  return sys::check(
      "mlock", [&] { return mlock(base, options.sizeBytes); }, "guest memory");
}

}  // namespace

Result<GuestMemory> GuestMemory::create(const MemoryOptions& options) {
  if (!isSize(options.sizeBytes)) return failure("guest memory", EINVAL, kSizes);
  GuestMemory memory;
  if (options.shared || options.hugepages) memory.file_ = TRY(createFile(options));
  const int sharing = memory.file_.valid() ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
  TRY(memory.place(memory.file_.get(), sharing, options.sizeBytes));
  TRY(prepare(memory.host(), options));
  memory.mayComeLate_ = !memory.file_.valid() && !options.locked && options.nodes.empty();
  return memory;
}

Result<GuestMemory> GuestMemory::mapPrivate(const Fd& file, const MemoryOptions& options) {
  if (!isSize(options.sizeBytes)) return failure("guest memory", EINVAL, kSizes);
  GuestMemory memory;
  TRY(memory.place(file.get(), MAP_PRIVATE | MAP_NORESERVE, options.sizeBytes));
  madvise(memory.host(), options.sizeBytes, MADV_DONTDUMP);
  if (!options.nodes.empty()) TRY(bindToNodes(memory.host(), options.sizeBytes, options.nodes));
  return memory;
}

Status GuestMemory::place(int file, int sharing, uint64_t sizeBytes) {
  sizeBytes_ = sizeBytes;
  // A guard on both sides, and room to align: device code that runs over an end is caught by the kernel.
  reservedBytes_ = sizeBytes + 3 * kAlignment;
  void* reservation = mmap(nullptr, reservedBytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reservation == MAP_FAILED) return failure("mmap", errno, "reservation for guest memory");
  reservation_ = reservation;
  const uint64_t first = reinterpret_cast<uint64_t>(reservation) + kAlignment;
  void* const base = reinterpret_cast<void*>((first + kAlignment - 1) / kAlignment * kAlignment);
  if (mmap(base, sizeBytes, PROT_READ | PROT_WRITE, sharing | MAP_FIXED, file, 0) == MAP_FAILED) {
    return failure("mmap", errno, "guest memory");
  }
  uint8_t* const host = static_cast<uint8_t*>(base);
  const uint64_t low = sizeBytes < layout::kLowRamEnd ? sizeBytes : layout::kLowRamEnd;
  regions_[regionCount_++] = {0, low, host};
  if (sizeBytes > low) regions_[regionCount_++] = {layout::kHighRam, sizeBytes - low, host + low};
  return Done{};
}

GuestMemory::GuestMemory(GuestMemory&& other) noexcept
    : file_(std::move(other.file_)),
      reservation_(std::exchange(other.reservation_, nullptr)),
      reservedBytes_(other.reservedBytes_),
      sizeBytes_(other.sizeBytes_),
      regions_{other.regions_[0], other.regions_[1]},
      regionCount_(std::exchange(other.regionCount_, 0)),
      mayComeLate_(other.mayComeLate_) {}

GuestMemory::~GuestMemory() {
  if (reservation_ != nullptr) munmap(reservation_, reservedBytes_);
}

void GuestMemory::discard(uint8_t* host, uint64_t sizeBytes) const {
  // Out of the file, not only out of this mapping of it; a file that is mapped privately is others' too.
  madvise(host, sizeBytes, file_.valid() ? MADV_REMOVE : MADV_DONTNEED);
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
