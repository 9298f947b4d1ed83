// virtio-blk: virtio 1.2, 5.2.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "virtio/block_slot.h"
#include "virtio/device.h"
#include "virtio/rate_limit.h"

namespace bulkhead::vm {

struct BlockOptions {
  /** A regular file or block device; its bytes are the disk, whatever they look like. */
  Fd file;
  bool readOnly = false;
  /** What the guest sees as serial number: at most 20 bytes. */
  std::string id;
  /** Without io_uring. */
  bool oneByOne = false;
  RateLimits limits;
};

/**
 * A disk. What the guest flushed is on stable storage; for a driver that does not flush, everything that it wrote is.
 * A request that the host cannot carry out fails, and nothing else does.
 */
class Block : public Device {
 public:
  static constexpr uint64_t kSectorBytes = 512;
  /** That one visit asks the disk for, and less than a part more: others have their turn. */
  static constexpr uint64_t kVisitBytes = 16 << 20;
  /** Of requests under way before others are taken: a snapshot waits for them. */
  static constexpr uint64_t kOpenBytes = 64 << 20;

  /** @returns EINVAL for a file that is no whole number of sectors, or an id too long */
  static Result<std::unique_ptr<Block>> create(BlockOptions options);

  DeviceKind kind() const override { return DeviceKind::block; }
  uint32_t queueCount() const override { return 1; }
  uint64_t features() const override;
  std::string_view config() const override { return {reinterpret_cast<const char*>(&config_), sizeof config_}; }
  Status activate() override;
  void reset() override;
  Status onDoorbell(uint32_t queue) override;
  Status onHost(uint64_t token, uint32_t events) override;
  void settle() override;
  bool isOneByOne() const { return io_->isOneByOne(); }

 private:
  /** Virtio 1.2, 5.2.4. */
  struct [[gnu::packed]] Config {
    uint64_t sectors = 0;
    uint32_t maxSegmentBytes = 0;
    uint32_t maxSegments = 0;
    uint32_t geometry = 0;
    uint32_t blockBytes = kSectorBytes;
    uint64_t topology = 0;
    uint8_t writeback = 0;
    uint8_t reserved = 0;
    uint16_t queues = 1;
    uint32_t maxDiscardSectors = 0;
    uint32_t maxDiscardSegments = 1;
    uint32_t discardAlignment = 1;
    uint32_t maxZeroSectors = 0;
    uint32_t maxZeroSegments = 1;
    uint8_t zeroMayDeallocate = 1;
    uint8_t padding[3] = {};
  };
  Block(BlockOptions options, std::unique_ptr<DiskIo> io, RateLimit limit, uint64_t sizeBytes);
  Status serve();
  Result<bool> take(const Chain& chain);
  uint8_t prepare(const Chain& chain, BlockSlot* slot);
  uint8_t prepareData(uint64_t sector, const Chain& chain, BlockSlot* slot);
  uint8_t prepareRange(const Chain& chain, BlockSlot* slot);
  bool hasTurn() const { return askedBytes_ < kVisitBytes; }
  bool hasRoom() const { return !free_.empty() && openBytes_ < kOpenBytes; }
  void start(uint32_t number);
  void startWaiting();
  void complete();
  void giveBack(const BlockSlot& slot, uint8_t status);

  BlockOptions options_;
  std::unique_ptr<DiskIo> io_;
  RateLimit limit_;
  Config config_;
  std::vector<BlockSlot> slots_;
  std::vector<uint32_t> free_;
  /** Slots whose next part is another visit's. */
  std::deque<uint32_t> waiting_;
  /** In this visit. */
  uint64_t askedBytes_ = 0;
  /** Of slots that are not free. */
  uint64_t openBytes_ = 0;
  /** A request stayed with the driver because there was no room, or the visit is over. */
  bool full_ = false;
};

}  // namespace bulkhead::vm
