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
  free_.insert(free_.end(), waiting_.begin(), waiting_.end());
  waiting_.clear();
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
  openBytes_ = 0;
  limit_.forget(&carrier());
  carrier().forget(io_->completed().get());
}

void Block::settle() {
  for (complete(); free_.size() < slots_.size(); complete()) {
    askedBytes_ = 0;
    startWaiting();
    // As in `reset`.
    if (!io_->wait().ok()) abort();
  }
}

Status Block::onDoorbell(uint32_t) {
  askedBytes_ = 0;
  return serve();
}

Status Block::onHost(uint64_t token, uint32_t) {
  askedBytes_ = 0;
  if (token == kLimitToken) {
    limit_.rang();
  } else {
    io_->completed().take();
    complete();
  }
  return serve();
}

Status Block::serve() {
  full_ = false;
  startWaiting();
  TRY(carrier().drain(0, [&](const Chain& chain) { return take(chain); }));
  TRY(io_->submit());
  // What was in the host's memory is there already.
  complete();
  // And nothing else may tell that there is room again.
  if (!waiting_.empty() || (full_ && hasRoom())) carrier().ringAgain(0);
  return Done{};
}

Result<bool> Block::take(const Chain& chain) {
  full_ = !hasTurn() || !hasRoom();
  if (full_) return false;
  if (chain.readableBytes() < sizeof(Header) || chain.writableBytes() < 1) {
    return failure("virtio-blk", EPROTO, "a request without header or place for its outcome");
  }
  const uint64_t dataBytes = uint64_t{chain.readableBytes()} + chain.writableBytes() - sizeof(Header) - 1;
  if (!limit_.admit(dataBytes)) return false;
  const uint32_t number = free_.back();
  BlockSlot& slot = slots_[number];
  const iovec& last = chain.writable()[chain.writable().count - 1];
  slot.begin(chain.head(), static_cast<uint8_t*>(last.iov_base) + last.iov_len - 1);
  const uint8_t status = prepare(chain, &slot);
  if (status == kStarted) {
    free_.pop_back();
    openBytes_ += slot.wantedBytes();
    start(number);
  } else {
    giveBack(slot, status);
  }
  return true;
}

uint8_t Block::prepare(const Chain& chain, BlockSlot* slot) {
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
      slot->flushes = !carrier().hasFeature(kFlushBit);
      return prepareRange(chain, slot);
    default:
      return kUnsupported;
  }
}

uint8_t Block::prepareData(uint64_t sector, const Chain& chain, BlockSlot* slot) {
  const bool reads = slot->request.transfer == Transfer::read;
  const uint32_t size = reads ? chain.writableBytes() - 1 : chain.readableBytes() - uint32_t{sizeof(Header)};
  if (size == 0 || size % kSectorBytes != 0) return kFailed;
  if (sector > config_.sectors || size / kSectorBytes > config_.sectors - sector) return kFailed;
  iovec pieces[Chain::kMaxSegments];
  const uint32_t count =
      reads ? slice(chain.writable(), 0, size, pieces) : slice(chain.readable(), sizeof(Header), size, pieces);
  slot->move({pieces, count}, sector * kSectorBytes, size);
  return kStarted;
}

uint8_t Block::prepareRange(const Chain& chain, BlockSlot* slot) {
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

void Block::start(uint32_t number) {
  const BlockSlot& slot = slots_[number];
  // One by one, what moves no data is waited for as well, and may take as long as a part that does.
  const bool waits = io_->isOneByOne() && slot.wantedBytes() == 0;
  askedBytes_ += waits ? BlockSlot::kPartBytes : slot.partBytes();
  io_->start(number, slot.request);
}

void Block::startWaiting() {
  for (; !waiting_.empty() && hasTurn(); waiting_.pop_front()) start(waiting_.front());
}

void Block::complete() {
  DiskCompletion completion;
  bool again = true;
  while (again) {
    again = false;
    while (io_->next(&completion)) {
      const auto number = static_cast<uint32_t>(completion.number);
      BlockSlot& slot = slots_[number];
      const Transfer transfer = slot.request.transfer;
      int failed = 0;
      if (slot.goesOn(completion.result, &failed)) {
        again = again || hasTurn();
        if (hasTurn()) {
          start(number);
        } else {
          waiting_.push_back(number);
        }
        continue;
      }
      const bool ranged = transfer == Transfer::deallocate || transfer == Transfer::zero;
      const Answer refused = ranged && failed == -EOPNOTSUPP ? kUnsupported : kFailed;
      giveBack(slot, failed == 0 ? kOk : refused);
      openBytes_ -= slot.wantedBytes();
      free_.push_back(number);
    }
    // One that fails is submitted with the next.
    again = again && io_->submit().ok();
  }
}

void Block::giveBack(const BlockSlot& slot, uint8_t status) {
  *slot.status() = status;
  const bool filled = status == kOk && slot.request.transfer != Transfer::write;
  carrier().queue(0).push(slot.head(), 1 + (filled ? static_cast<uint32_t>(slot.movedBytes) : 0));
}

}  // namespace bulkhead::vm
