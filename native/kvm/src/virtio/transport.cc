#include "virtio/transport.h"

#include <sys/epoll.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "events/clock.h"
#include "virtio/registers.h"

namespace bulkhead::vm {
namespace {

constexpr uint32_t kVendor = 0x4b4c4842;  // "BHLK"
constexpr uint32_t kUsedBuffer = 1;
constexpr uint32_t kConfigChanged = 2;
constexpr uint32_t kEventIndexBit = 29;
constexpr uint64_t kVersion1 = uint64_t{1} << 32;
constexpr uint64_t kOffered = kVersion1 | uint64_t{1} << kEventIndexBit;

/** Tokens of doorbells are the queues' numbers; a device's own come behind them. */
constexpr uint64_t kFirstDeviceToken = 64;

void setHalf(uint64_t* whole, uint32_t part, uint32_t value) {
  const unsigned shift = part * 32;
  *whole = (*whole & ~(uint64_t{0xffffffff} << shift)) | uint64_t{value} << shift;
}

}  // namespace

Result<std::unique_ptr<Transport>> Transport::create(std::unique_ptr<Device> device, const GuestMemory& memory,
                                                     EventLoop* loop) {
  std::unique_ptr<Transport> transport(new Transport(std::move(device), memory, loop, TRY(EventFd::create())));
  transport->device_->carriedBy(transport.get());
  for (uint32_t index = 0; index < transport->device_->queueCount(); ++index) {
    transport->doorbells_.push_back(TRY(EventFd::create()));
    TRY(loop->watch(transport->doorbell(index), EPOLLIN | EPOLLET, transport->admitted_, index));
  }
  return transport;
}

Transport::Transport(std::unique_ptr<Device> device, const GuestMemory& memory, EventLoop* loop, EventFd interrupt)
    : device_(std::move(device)),
      memory_(memory),
      loop_(loop),
      interrupt_(std::move(interrupt)),
      admitted_(loop->admit(this)),
      setups_(device_->queueCount()),
      queues_(device_->queueCount()),
      watches_(device_->queueCount()) {}

Transport::~Transport() {
  device_->reset();
}

void Transport::read(uint64_t offset, uint8_t* data, uint32_t size) {
  memset(data, 0, size);
  if (offset == kInterruptCauses && size == 4) {
    const uint32_t causes = causes_;
    memcpy(data, &causes, sizeof causes);
    return;
  }
  const std::lock_guard guard(lock_);
  if (offset >= kConfig) return readConfig(offset - kConfig, data, size);
  if (size != 4 || offset % 4 != 0) return;
  const uint32_t value = readRegister(offset);
  memcpy(data, &value, sizeof value);
}

void Transport::write(uint64_t offset, const uint8_t* data, uint32_t size) {
  uint32_t value = 0;
  if (size == sizeof value) memcpy(&value, data, sizeof value);
  if (offset == kInterruptAcknowledge && size == sizeof value) {
    causes_ &= ~value;
    return;
  }
  const std::lock_guard guard(lock_);
  if (offset < kConfig) {
    if (size == sizeof value && offset % sizeof value == 0) writeRegister(offset, value);
  } else if ((status_ & kDriver) != 0) {
    device_->writeConfig(offset - kConfig, data, size);
  }
}

void Transport::onReady(uint64_t token, uint32_t events) {
  const std::lock_guard guard(lock_);
  if (token < doorbells_.size()) {
    watches_[token].rang(monotonicNs());
    ++counts_.doorbells;
  }
  // A device that is not active, or that was lied to, stays still.
  if (!active()) return;
  Status served = serve(token, events);
  // Before anything else: the driver waits for it.
  raiseForQueues();
  if (served.ok()) served = settle();
  if (!served.ok()) fail();
}

void Transport::conclude(uint64_t untilNs) {
  const std::lock_guard guard(lock_);
  if (active()) device_->conclude(untilNs);
}

TransportCounts Transport::counts() {
  const std::lock_guard guard(lock_);
  return counts_;
}

bool Transport::active() const {
  return (status_ & (kDriverOk | kNeedsReset | kFailed)) == kDriverOk;
}

void Transport::configChanged() {
  ++configGeneration_;
  if (active()) raise(kConfigChanged);
}

Status Transport::watch(int fd, uint32_t events, uint64_t token) {
  return loop_->watch(fd, events, admitted_, kFirstDeviceToken + token);
}

uint32_t Transport::readRegister(uint64_t offset) const {
  const QueueSetup none;
  const bool real = selected_ < setups_.size();
  const QueueSetup& setup = real ? setups_[selected_] : none;
  switch (offset) {
    case kMagic:
      return 0x74726976;  // "virt"
    case kVersion:
      return 2;
    case kDeviceId:
      return static_cast<uint32_t>(device_->kind());
    case kVendorId:
      return kVendor;
    case kFeatures:
      return featuresPart_ < 2 ? static_cast<uint32_t>((device_->features() | kOffered) >> (featuresPart_ * 32)) : 0;
    case kQueueMaxSize:
      return real ? Queue::kMaxSize : 0;
    case kQueueReady:
      return setup.ready;
    case kStatus:
      return status_;
    case kConfigGeneration:
      return configGeneration_;
    case kSharedLength:
    case kSharedLength + 4:
    case kSharedBase:
    case kSharedBase + 4:
      // No device has memory of its own that its driver could map.
      return ~uint32_t{0};
    default:
      return 0;
  }
}

void Transport::readConfig(uint64_t offset, uint8_t* data, uint32_t size) const {
  const std::string_view config = device_->config();
  if (offset < config.size()) memcpy(data, config.data() + offset, std::min<uint64_t>(size, config.size() - offset));
}

void Transport::writeRegister(uint64_t offset, uint32_t value) {
  switch (offset) {
    case kFeaturesPart:
      featuresPart_ = value;
      break;
    case kDriverFeaturesPart:
      driverFeaturesPart_ = value;
      break;
    case kDriverFeatures:
      // Once features are agreed on they stay so.
      if ((status_ & (kDriver | kFeaturesOk)) == kDriver && driverFeaturesPart_ < 2) {
        setHalf(&driverFeatures_, driverFeaturesPart_, value);
      }
      break;
    case kQueueSelect:
      selected_ = value;
      break;
    case kDoorbell:
      // KVM takes those that are written as they should be.
      if (value < doorbells_.size()) doorbells_[value].signal();
      break;
    case kStatus:
      writeStatus(value);
      break;
    default:
      writeSetup(offset, value);
      break;
  }
}

void Transport::writeSetup(uint64_t offset, uint32_t value) {
  // Queues are described after features are agreed on and before the device works, and not while they are ready.
  if ((status_ & (kFeaturesOk | kDriverOk | kNeedsReset | kFailed)) != kFeaturesOk) return;
  if (selected_ >= setups_.size()) return;
  QueueSetup& setup = setups_[selected_];
  if (offset == kQueueReady) setup.ready = value == 1;
  if (setup.ready) return;
  switch (offset) {
    case kQueueSize:
      // Whatever is no size at all is refused when the device starts.
      setup.size = value <= Queue::kMaxSize ? static_cast<uint16_t>(value) : 0;
      break;
    case kQueueDescriptors:
    case kQueueDescriptors + 4:
      setHalf(&setup.descriptors, offset != kQueueDescriptors, value);
      break;
    case kQueueAvailable:
    case kQueueAvailable + 4:
      setHalf(&setup.available, offset != kQueueAvailable, value);
      break;
    case kQueueUsed:
    case kQueueUsed + 4:
      setHalf(&setup.used, offset != kQueueUsed, value);
      break;
    default:
      break;
  }
}

/** Virtio 1.2, 3.1.1: each step sets one bit, in this order; only a reset clears any. */
void Transport::writeStatus(uint32_t value) {
  if (value == 0) return reset();
  if ((value & kFailed) != 0) {
    status_ |= kFailed;
    return device_->reset();
  }
  constexpr uint32_t kSteps[] = {0, kAcknowledged, kDriver, kFeaturesOk, kDriverOk};
  const uint32_t wanted = value & ~uint32_t{kNeedsReset};
  const uint32_t current = status_ & ~uint32_t{kNeedsReset};
  uint32_t reached = 0;
  for (const uint32_t step : kSteps) {
    if (reached == current && wanted == (reached | step) && step != 0) {
      if (step == kFeaturesOk && !agreed()) return;
      status_ |= step;
      if (step == kDriverOk) activate();
      return;
    }
    reached |= step;
  }
}

bool Transport::agreed() const {
  return (driverFeatures_ & ~(device_->features() | kOffered)) == 0 && (driverFeatures_ & kVersion1) != 0;
}

Status Transport::attachQueues() {
  for (size_t index = 0; index < queues_.size(); ++index) {
    queues_[index] = TRY(Queue::attach(setups_[index], memory_, hasFeature(kEventIndexBit)));
  }
  return Done{};
}

void Transport::activate() {
  if (!attachQueues().ok() || !device_->activate().ok()) return fail();
  // A doorbell may have rung before there was anybody to hear it.
  for (const EventFd& doorbell : doorbells_) doorbell.signal();
}

void Transport::reset() {
  device_->reset();
  for (QueueSetup& setup : setups_) setup = {};
  for (Queue& queue : queues_) queue = {};
  emptied_ = 0;
  driverFeatures_ = 0;
  featuresPart_ = driverFeaturesPart_ = selected_ = status_ = causes_ = 0;
}

Status Transport::serve(uint64_t token, uint32_t events) {
  if (token < kFirstDeviceToken) return device_->onDoorbell(static_cast<uint32_t>(token));
  return device_->onHost(token - kFirstDeviceToken, events);
}

/** Leaves no queue whose driver would not ring; those from which requests still come are served meanwhile. */
Status Transport::settle() {
  // Of one visit: other devices wait.
  constexpr int kRounds = 64;
  for (int round = 0; emptied_ != 0; ++round) {
    const auto index = static_cast<uint32_t>(std::countr_zero(emptied_));
    emptied_ &= emptied_ - 1;
    Queue& queue = queues_[index];
    const bool more = watches_[index].watch([&] { return queue.waiting(); }, monotonicNs) || !queue.rest();
    if (more && round >= kRounds) {
      ringAgain(index);
    } else if (more) {
      TRY(device_->onDoorbell(index));
      raiseForQueues();
    }
  }
  return Done{};
}

void Transport::raise(uint32_t cause) {
  causes_ |= cause;
  ++counts_.interrupts;
  interrupt_.signal();
}

void Transport::servedElsewhere() {
  raise(kUsedBuffer);
}

void Transport::fail() {
  ++counts_.faults;
  status_ |= kNeedsReset;
  // It must not go on listening to the host: nobody would answer.
  device_->reset();
  raise(kConfigChanged);
}

void Transport::tell(uint32_t index) {
  if (queues_[index].takeInterrupt()) raise(kUsedBuffer);
}

void Transport::raiseForQueues() {
  bool wanted = false;
  for (Queue& queue : queues_) wanted = queue.takeInterrupt() || wanted;
  if (wanted) raise(kUsedBuffer);
}

}  // namespace bulkhead::vm
