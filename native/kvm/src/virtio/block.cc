#include "virtio/block.h"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace bulkhead::vm {
namespace {

enum RequestKind : uint32_t { kIn = 0, kOut = 1, kFlush = 4, kGetId = 8, kDiscard = 11, kWriteZeroes = 13 };
enum Answer : uint8_t { kOk = 0, kFailed = 1, kUnsupported = 2 };
/** Not one of the above: the disk is at work. */
constexpr uint8_t kStarted = 0xff;

constexpr uint64_t kSegmentMaxFeature = uint64_t{1} << 2;
constexpr uint64_t kReadOnlyFeature = uint64_t{1} << 5;
constexpr uint64_t kBlockSizeFeature = uint64_t{1} << 6;
constexpr uint32_t kFlushBit = 9;
constexpr uint64_t kDiscardFeature = uint64_t{1} << 13;
constexpr uint64_t kWriteZeroesFeature = uint64_t{1} << 14;

constexpr uint64_t kCompletedToken = 0;
constexpr uint64_t kLimitToken = 1;

constexpr uint32_t kIdBytes = 20;
/** Of one deallocation: 1 GiB, so that none takes long. */
constexpr uint32_t kMaxRangeSectors = (1u << 30) / Block::kSectorBytes;

struct Header {
  uint32_t kind;
  uint32_t reserved;
  uint64_t sector;
};

struct Range {
  uint64_t sector;
  uint32_t sectors;
  uint32_t flags;
};
constexpr uint32_t kDeallocateFlag = 1;

}  // namespace

Result<std::unique_ptr<Block>> Block::create(BlockOptions options) {
  if (options.id.size() > kIdBytes) return failure("disk", EINVAL, "its id is longer than 20 bytes");
  const off_t size = lseek(options.file.get(), 0, SEEK_END);
  if (size < 0) return failure("lseek", errno, "disk");
  if (size == 0 || static_cast<uint64_t>(size) % kSectorBytes != 0) {
    return failure("disk", EINVAL, "it is not a whole number of sectors");
  }
  auto io = TRY(DiskIo::create(options.file.get(), options.oneByOne));
  RateLimit limit = TRY(RateLimit::create(options.limits));
  return std::unique_ptr<Block>(
      new Block(std::move(options), std::move(io), std::move(limit), static_cast<uint64_t>(size)));
}

Block::Block(BlockOptions options, std::unique_ptr<DiskIo> io, RateLimit limit, uint64_t sizeBytes)
    : options_(std::move(options)), io_(std::move(io)), limit_(std::move(limit)), slots_(DiskIo::kDepth) {
  config_.sectors = sizeBytes / kSectorBytes;
  // Header and outcome take two.
  config_.maxSegments = Queue::kMaxSize / 2 - 2;
  config_.maxDiscardSectors = config_.maxZeroSectors = kMaxRangeSectors;
  for (uint32_t number = 0; number < DiskIo::kDepth; ++number) free_.push_back(number);
}

uint64_t Block::features() const {
  const uint64_t always = kSegmentMaxFeature | kBlockSizeFeature | uint64_t{1} << kFlushBit;
  return always | (options_.readOnly ? kReadOnlyFeature : kDiscardFeature | kWriteZeroesFeature);
}

Status Block::activate() {
  TRY(limit_.watch(&carrier(), kLimitToken));
  return carrier().watch(io_->completed().get(), EPOLLIN, kCompletedToken);
}

void Block::reset() {
  // What the disk is still at would write into memory that the guest uses for something else by then.
  DiskCompletion completion;
  while (free_.size() < slots_.size()) {
    if (io_->next(&completion)) {
      free_.push_back(static_cast<uint32_t>(completion.number));
    } else if (!io_->wait().ok()) {
      // Nobody knows then what will still be written to the guest's memory, and when.
      abort();
    }
  }
  limit_.forget(&carrier());
  carrier().forget(io_->completed().get());
}

void Block::settle() {
  for (complete(); free_.size() < slots_.size(); complete()) {
    // As in `reset`.
    if (!io_->wait().ok()) abort();
  }
}

Status Block::onDoorbell(uint32_t) {
  return serve();
}

Status Block::onHost(uint64_t token, uint32_t) {
  if (token == kLimitToken) {
    limit_.rang();
    return serve();
  }
  io_->completed().take();
  complete();
  return serve();
}

Status Block::serve() {
  full_ = false;
  TRY(carrier().drain(0, [&](const Chain& chain) { return take(chain); }));
  TRY(io_->submit());
  // What was in the host's memory is there already.
  complete();
  // And nothing else may tell that there is room again.
  if (full_ && !free_.empty()) carrier().ringAgain(0);
  return Done{};
}

Result<bool> Block::take(const Chain& chain) {
  full_ = free_.empty();
  if (full_) return false;
  if (chain.readableBytes() < sizeof(Header) || chain.writableBytes() < 1) {
    return failure("virtio-blk", EPROTO, "a request without header or place for its outcome");
  }
  const uint64_t dataBytes = uint64_t{chain.readableBytes()} + chain.writableBytes() - sizeof(Header) - 1;
  if (!limit_.admit(dataBytes)) return false;
  const uint32_t number = free_.back();
  Slot& slot = slots_[number];
  const iovec& last = chain.writable()[chain.writable().count - 1];
  slot.head = chain.head();
  slot.status = static_cast<uint8_t*>(last.iov_base) + last.iov_len - 1;
  slot.request = {};
  slot.wantedBytes = slot.movedBytes = 0;
  const uint8_t status = prepare(chain, &slot);
  if (status == kStarted) {
    free_.pop_back();
    io_->start(number, slot.request);
  } else {
    giveBack(slot, status);
  }
  return true;
}

uint8_t Block::prepare(const Chain& chain, Slot* slot) {
  Header header;
  chain.read(0, &header);
  const bool writes = header.kind == kOut || header.kind == kDiscard || header.kind == kWriteZeroes;
  if (writes && options_.readOnly) return kFailed;
  switch (header.kind) {
    case kIn:
      slot->request.transfer = Transfer::read;
      return prepareData(header.sector, chain, slot);
    case kOut:
      slot->request.transfer = Transfer::write;
      slot->request.durable = !carrier().hasFeature(kFlushBit);
      return prepareData(header.sector, chain, slot);
    case kFlush:
      return kStarted;
    case kGetId: {
      char id[kIdBytes] = {};
      memcpy(id, options_.id.data(), options_.id.size());
      if (chain.writableBytes() < kIdBytes + 1 || !chain.write(0, id, kIdBytes)) return kFailed;
      slot->movedBytes = kIdBytes;
      return kOk;
    }
    case kDiscard:
      slot->request.transfer = Transfer::deallocate;
      return prepareRange(chain, slot);
    case kWriteZeroes:
      slot->request.transfer = Transfer::zero;
      return prepareRange(chain, slot);
    default:
      return kUnsupported;
  }
}

uint8_t Block::prepareData(uint64_t sector, const Chain& chain, Slot* slot) {
  const bool reads = slot->request.transfer == Transfer::read;
  const uint32_t size = reads ? chain.writableBytes() - 1 : chain.readableBytes() - uint32_t{sizeof(Header)};
  if (size == 0 || size % kSectorBytes != 0) return kFailed;
  if (sector > config_.sectors || size / kSectorBytes > config_.sectors - sector) return kFailed;
  iovec pieces[Chain::kMaxSegments];
  const uint32_t count =
      reads ? slice(chain.writable(), 0, size, pieces) : slice(chain.readable(), sizeof(Header), size, pieces);
  slot->buffers.assign(pieces, pieces + count);
  slot->request.offset = sector * kSectorBytes;
  slot->request.buffers = slot->buffers.data();
  slot->request.bufferCount = count;
  slot->wantedBytes = size;
  return kStarted;
}

uint8_t Block::prepareRange(const Chain& chain, Slot* slot) {
  Range range;
  if (chain.readableBytes() != sizeof(Header) + sizeof range) return kFailed;
  chain.read(sizeof(Header), &range);
  const bool zeroes = slot->request.transfer == Transfer::zero;
  if ((range.flags & ~(zeroes ? kDeallocateFlag : 0)) != 0) return kUnsupported;
  if (range.sectors == 0 || range.sectors > kMaxRangeSectors) return kFailed;
  if (range.sector > config_.sectors || range.sectors > config_.sectors - range.sector) return kFailed;
  // A hole reads as zeroes.
  if (range.flags == kDeallocateFlag) slot->request.transfer = Transfer::deallocate;
  slot->request.offset = range.sector * kSectorBytes;
  slot->request.sizeBytes = uint64_t{range.sectors} * kSectorBytes;
  return kStarted;
}

void Block::complete() {
  DiskCompletion completion;
  bool again = true;
  while (again) {
    again = false;
    while (io_->next(&completion)) {
      const auto number = static_cast<uint32_t>(completion.number);
      Slot& slot = slots_[number];
      uint8_t status = kOk;
      if (continues(&slot, completion.result, &status)) {
        io_->start(number, slot.request);
        again = true;
        continue;
      }
      giveBack(slot, status);
      free_.push_back(number);
    }
    // One that fails is submitted with the next.
    again = again && io_->submit().ok();
  }
}

/** True when the disk moved only a part: the rest is asked for then. Otherwise says how it ended. */
bool Block::continues(Slot* slot, int64_t result, uint8_t* status) {
  const bool ranged = slot->request.transfer == Transfer::deallocate || slot->request.transfer == Transfer::zero;
  if (result < 0) {
    *status = ranged && result == -EOPNOTSUPP ? kUnsupported : kFailed;
    return false;
  }
  slot->movedBytes += static_cast<uint64_t>(result);
  if (slot->movedBytes >= slot->wantedBytes) return false;
  if (result == 0) {
    // The file has become shorter.
    *status = kFailed;
    return false;
  }
  iovec pieces[Chain::kMaxSegments];
  const Span<const iovec> buffers = {slot->buffers.data(), static_cast<uint32_t>(slot->buffers.size())};
  const uint32_t count = slice(buffers, static_cast<uint64_t>(result), ~uint64_t{0}, pieces);
  slot->buffers.assign(pieces, pieces + count);
  slot->request.buffers = slot->buffers.data();
  slot->request.bufferCount = count;
  slot->request.offset += static_cast<uint64_t>(result);
  return true;
}

void Block::giveBack(const Slot& slot, uint8_t status) {
  *slot.status = status;
  const bool filled = status == kOk && slot.request.transfer != Transfer::write;
  carrier().queue(0).push(slot.head, 1 + (filled ? static_cast<uint32_t>(slot.movedBytes) : 0));
}

}  // namespace bulkhead::vm
