// A transport's part of a snapshot.
#include "virtio/registers.h"
#include "virtio/transport.h"

namespace bulkhead::vm {
namespace {

constexpr uint32_t kMaxDeviceBytes = 64 * 1024;

/** Virtio 1.2, 2.1: a driver sets one bit after the other, and either side may give up at any time. */
bool isStatus(uint32_t status) {
  const uint32_t steps = status & ~uint32_t{kNeedsReset | kFailed};
  constexpr uint32_t kAll = kAcknowledged | kDriver | kFeaturesOk | kDriverOk;
  return steps == 0 || steps == kAcknowledged || steps == (kAcknowledged | kDriver) ||
         steps == (kAcknowledged | kDriver | kFeaturesOk) || steps == kAll;
}

void putQueue(const QueueSetup& setup, const QueuePosition& position, StateWriter* to) {
  to->put(setup.size);
  to->put(static_cast<uint8_t>(setup.ready));
  to->put(setup.descriptors);
  to->put(setup.available);
  to->put(setup.used);
  to->put(position);
}

QueueSetup readSetup(StateReader* from) {
  QueueSetup setup;
  setup.size = from->get<uint16_t>();
  if (setup.size > Queue::kMaxSize) from->refuse();
  setup.ready = from->get<uint8_t>() == 1;
  setup.descriptors = from->get<uint64_t>();
  setup.available = from->get<uint64_t>();
  setup.used = from->get<uint64_t>();
  return setup;
}

}  // namespace

std::string Transport::save() {
  const std::lock_guard guard(lock_);
  if (active()) {
    device_->settle();
    raiseForQueues();
  }
  StateWriter to;
  to.put(driverFeatures_);
  to.put(featuresPart_);
  to.put(driverFeaturesPart_);
  to.put(selected_);
  to.put(status_);
  to.put(causes_.load());
  to.put(configGeneration_);
  for (size_t index = 0; index < setups_.size(); ++index) putQueue(setups_[index], queues_[index].position(), &to);
  StateWriter device;
  device_->save(&device);
  to.putText(device.bytes());
  return to.bytes();
}

Status Transport::load(std::string_view state) {
  const std::lock_guard guard(lock_);
  StateReader from(state);
  driverFeatures_ = from.get<uint64_t>();
  featuresPart_ = from.get<uint32_t>();
  driverFeaturesPart_ = from.get<uint32_t>();
  selected_ = from.get<uint32_t>();
  status_ = from.get<uint32_t>();
  causes_ = from.get<uint32_t>();
  configGeneration_ = from.get<uint32_t>();
  std::vector<QueuePosition> positions;
  for (QueueSetup& setup : setups_) {
    setup = readSetup(&from);
    positions.push_back(from.get<QueuePosition>());
  }
  StateReader device(from.getText(kMaxDeviceBytes));
  if (!isStatus(status_) || ((status_ & kFeaturesOk) != 0 && !agreed())) from.refuse();
  const bool wasActive = active();
  Status done = from.finish("a device's registers");
  if (done.ok() && wasActive) {
    done = attachQueues();
    for (size_t index = 0; index < queues_.size(); ++index) queues_[index].goOnFrom(positions[index]);
    if (done.ok()) done = device_->activate();
  }
  if (done.ok()) done = device_->load(&device);
  if (done.ok()) done = device.finish("a device's state");
  if (!done.ok()) reset();
  return done;
}

void Transport::wake() {
  const std::lock_guard guard(lock_);
  if (!active()) return;
  raiseForQueues();
  // Interrupts and doorbells that were under way when the state was taken are not in it. One too many does no harm.
  if (causes_ != 0) interrupt_.signal();
  for (const EventFd& doorbell : doorbells_) doorbell.signal();
}

}  // namespace bulkhead::vm
