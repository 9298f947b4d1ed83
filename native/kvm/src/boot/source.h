// The bytes of an image that may be hostile, shorter than it says, or still changing.
#pragma once

#include <cstdint>
#include <string_view>

#include "memory/guest_memory.h"
#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

class LateBlocks;

/** Read by copying: a mapping of a file that somebody truncates would end this process with SIGBUS. */
class Source {
 public:
  virtual ~Source() = default;
  virtual uint64_t sizeBytes() const = 0;
  /** All of [offset, offset + size), or an error: EBADMSG when the bytes are not there. */
  virtual Status read(uint64_t offset, void* to, uint64_t size) const = 0;

  /** The same to the guest's RAM, when the guest runs at the latest; ENOMEM where it has no room for it. */
  virtual Status load(uint64_t offset, const GuestMemory& memory, uint64_t address, uint64_t size) const;

  template <class T>
  Result<T> readAs(uint64_t offset) const {
    T value;
    TRY(read(offset, &value, sizeof value));
    return value;
  }
};

/** EBADMSG when the file became too short for it. */
Status readWhole(const Fd& file, uint64_t offset, void* to, uint64_t size);

class FileSource : public Source {
 public:
  /** A regular file or block device, open for reading. */
  static Result<FileSource> open(Fd file);
  /** Whether it takes so long to read that a guest could begin meanwhile. */
  bool isLarge() const;
  /** What `load` is asked for may come once the guest runs; `late` outlives this. nullptr: nothing may. */
  void comeBy(LateBlocks* late) { late_ = late; }
  uint64_t sizeBytes() const override { return sizeBytes_; }
  Status read(uint64_t offset, void* to, uint64_t size) const override;
  Status load(uint64_t offset, const GuestMemory& memory, uint64_t address, uint64_t size) const override;

 private:
  FileSource(Fd file, uint64_t sizeBytes) : file_(std::move(file)), sizeBytes_(sizeBytes) {}

  Fd file_;
  uint64_t sizeBytes_;
  LateBlocks* late_ = nullptr;
};

class BytesSource : public Source {
 public:
  explicit BytesSource(std::string_view bytes) : bytes_(bytes) {}
  uint64_t sizeBytes() const override { return bytes_.size(); }
  Status read(uint64_t offset, void* to, uint64_t size) const override;

 private:
  std::string_view bytes_;
};

}  // namespace bulkhead::vm
