// A disk between a driver and a file in memory, for tests.
#pragma once

#include <fcntl.h>
#include <sys/mman.h>

#include "driver.h"
#include "runner.h"
#include "sys/syscalls.h"
#include "virtio/block.h"

namespace bulkhead::vm {

inline constexpr uint32_t kIn = 0, kOut = 1, kFlush = 4, kGetId = 8, kDiscard = 11, kWriteZeroes = 13;
inline constexpr uint8_t kOk = 0, kFailed = 1, kUnsupported = 2, kNone = 0x77;
inline constexpr uint64_t kFlushFeature = 1 << 9;
inline constexpr uint64_t kHeader = Driver::kData;
inline constexpr uint64_t kStatus = Driver::kData + 0x100;
inline constexpr uint64_t kBytes = Driver::kData + 0x1000;
inline constexpr uint64_t kDiskBytes = 64 * 1024;

struct Request {
  uint32_t kind;
  uint32_t reserved = 0;
  uint64_t sector = 0;
};

struct Disk {
  Fd file = sys::memoryFile("disk", MFD_ALLOW_SEALING).take();
  std::unique_ptr<Driver> driver;
  bool oneByOne = false;

  explicit Disk(bool oneByOne, bool readOnly = false, const RateLimits& limits = {}, uint64_t bytes = kDiskBytes) {
    EXPECT(ftruncate(file.get(), static_cast<off_t>(bytes)) == 0);
    BlockOptions options;
    options.file = sys::duplicate(file.get(), 3).take();
    options.readOnly = readOnly;
    options.oneByOne = oneByOne;
    options.id = "a disk";
    options.limits = limits;
    auto block = Block::create(std::move(options)).take();
    this->oneByOne = block->isOneByOne();
    driver = std::make_unique<Driver>(std::move(block));
    driver->start(kFlushFeature);
  }
  /** One request and its outcome. */
  uint8_t ask(const Request& request, std::vector<Buffer> data = {}) {
    driver->memory.write(kHeader, request);
    driver->memory.write(kStatus, kNone);
    data.insert(data.begin(), {kHeader, sizeof request});
    data.push_back({kStatus, 1, true});
    driver->add(0, data);
    const uint16_t before = driver->usedCount(0);
    driver->ring(0);
    if (driver->needsReset()) return kNone;
    EXPECT(driver->waitForUsed(0, before + 1));
    uint8_t status = kNone;
    EXPECT(driver->memory.read(kStatus, &status));
    return status;
  }
  uint8_t askRange(uint32_t kind, uint64_t sector, uint32_t sectors, uint32_t flags = 0) {
    struct {
      uint64_t sector;
      uint32_t sectors, flags;
    } range = {sector, sectors, flags};
    driver->memory.write(kBytes, range);
    return ask({kind}, {{kBytes, sizeof range}});
  }
  std::string stored(uint64_t offset, size_t size) {
    std::string bytes(size, '?');
    EXPECT(pread(file.get(), bytes.data(), size, static_cast<off_t>(offset)) == static_cast<ssize_t>(size));
    return bytes;
  }
};

template <class Body>
void bothWays(Body body) {
  for (const bool oneByOne : {false, true}) {
    Disk disk(oneByOne);
    EXPECT(disk.oneByOne || !oneByOne);
    body(disk);
  }
}

}  // namespace bulkhead::vm
