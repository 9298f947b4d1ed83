// The guest's RAM as this process sees it.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "sys/fd.h"
#include "sys/result.h"
#include "sys/span.h"

namespace bulkhead::vm {

struct MemoryOptions {
  /** A multiple of 2 MiB. */
  uint64_t sizeBytes = 0;
  /** Pages of 2 MiB from the kernel's pool; ENOMEM at creation when it has too few. */
  bool hugepages = false;
  /** Every page present and locked when creation returns; ENOMEM or EPERM when that cannot be. */
  bool locked = false;
  /** Another process is to map it too: its pages are a file's, which few hosts make large. */
  bool shared = false;
  /** NUMA nodes of the host that its pages come from; empty: whichever is near whoever touches them first. */
  std::vector<uint32_t> nodes = {};
};

/** A run of guest-physical addresses that are RAM. */
struct Region {
  uint64_t address;
  uint64_t sizeBytes;
  uint8_t* host;
};

/**
 * Pages of this process alone, or of a file, mapped once between two guard areas. Every address that a guest names goes
 * through `at`, which knows only whole ranges inside one region: an answer is safe to use, whatever the guest does
 * meanwhile to the content.
 */
class GuestMemory {
 public:
  static Result<GuestMemory> create(const MemoryOptions& options);
  /**
   * What `file` holds from its beginning, read when the guest touches it; what the guest writes is its own and never
   * reaches the file, which must not become shorter meanwhile.
   */
  static Result<GuestMemory> mapPrivate(const Fd& file, const MemoryOptions& options);
  GuestMemory(GuestMemory&& other) noexcept;
  GuestMemory& operator=(GuestMemory&&) = delete;
  ~GuestMemory();

  /** Host address of a range; nullptr unless all of it lies in one region. A range of no bytes is nowhere. */
  uint8_t* at(uint64_t address, uint64_t sizeBytes) const;
  /**
   * Gives whole pages back to the host; the guest finds them empty, or as in the file that is mapped. Does nothing
   * where they are locked or large.
   */
  void discard(uint8_t* host, uint64_t sizeBytes) const;
  Span<const Region> regions() const { return {regions_, regionCount_}; }
  uint64_t sizeBytes() const { return sizeBytes_; }
  /** The guest's RAM without its holes. */
  uint8_t* host() const { return regions_[0].host; }
  /** Whether pages may be put in its place by and by: they are this process's alone, and wherever it gets them. */
  bool mayComeLate() const { return mayComeLate_; }
  /** The file that it is; none when it is this process's alone. */
  const Fd& file() const { return file_; }
  /** End of the RAM that begins at address 0. */
  uint64_t lowEnd() const { return regions_[0].sizeBytes; }

  template <class T>
  bool read(uint64_t address, T* value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    const uint8_t* from = at(address, sizeof(T));
    if (from != nullptr) memcpy(value, from, sizeof(T));
    return from != nullptr;
  }
  template <class T>
  bool write(uint64_t address, const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    uint8_t* to = at(address, sizeof(T));
    if (to != nullptr) memcpy(to, &value, sizeof(T));
    return to != nullptr;
  }

 private:
  GuestMemory() = default;
  Status place(int file, int sharing, uint64_t sizeBytes);

  Fd file_;
  void* reservation_ = nullptr;
  size_t reservedBytes_ = 0;
  uint64_t sizeBytes_ = 0;
  Region regions_[2] = {};
  uint32_t regionCount_ = 0;
  bool mayComeLate_ = false;
};

}  // namespace bulkhead::vm
