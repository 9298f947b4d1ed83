// virtio over memory-mapped registers: virtio 1.2, 4.2 (version 2).
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "devices/bus.h"
#include "events/event_loop.h"
#include "virtio/device.h"
#include "virtio/watchfulness.h"

namespace bulkhead::vm {

/** Counts of one device; KVM counts no doorbells, so these are those that were heard. */
struct TransportCounts {
  uint64_t doorbells = 0;
  uint64_t interrupts = 0;
  /** Times that the driver broke a rule, or the host failed the device. */
  uint64_t faults = 0;
};

/**
 * Registers, the states in which a driver may write them, and the queues' doorbells. Registers are reached from
 * processors' threads, doorbells from the loop's: both take the lock.
 */
class Transport : public BusDevice, public Readiness, private Carrier {
 public:
  static constexpr uint64_t kRegisterBytes = 0x1000;
  static constexpr uint64_t kDoorbell = 0x50;

  /** `memory` and `loop` outlive it. */
  static Result<std::unique_ptr<Transport>> create(std::unique_ptr<Device> device, const GuestMemory& memory,
                                                   EventLoop* loop);
  Transport(const Transport&) = delete;
  Transport& operator=(const Transport&) = delete;
  /** The device is reset. */
  ~Transport() override;

  void read(uint64_t offset, uint8_t* data, uint32_t size) override;
  void write(uint64_t offset, const uint8_t* data, uint32_t size) override;
  void onReady(uint64_t token, uint32_t events) override;
  /** See Device. */
  void conclude(uint64_t untilNs);

  /** While no processor runs. Finishes what is under way, and answers all that a driver relies on. */
  std::string save();
  /**
   * Before the machine runs.
   * @returns EBADMSG or EPROTO for what no driver can have brought about
   */
  Status load(std::string_view state);
  /** After `load`, when interrupts arrive: whatever rang or was raised and may be lost comes again. */
  void wake();

  DeviceKind kind() const { return device_->kind(); }
  bool isServedElsewhere() const { return device_->servedElsewhere(); }
  uint32_t doorbellCount() const { return static_cast<uint32_t>(doorbells_.size()); }
  /** What KVM signals when the driver writes the queue's number to the doorbell register. */
  int doorbell(uint32_t queue) const { return doorbells_[queue].get(); }
  int interrupt() const { return interrupt_.get(); }
  TransportCounts counts();

 private:
  Transport(std::unique_ptr<Device> device, const GuestMemory& memory, EventLoop* loop, EventFd interrupt);
  const GuestMemory& memory() const override { return memory_; }
  Queue& queue(uint32_t index) override { return queues_[index]; }
  void ringAgain(uint32_t index) override { doorbells_[index].signal(); }
  void tell(uint32_t index) override;
  const QueueSetup& setup(uint32_t index) const override { return setups_[index]; }
  void servedElsewhere() override;
  void emptied(uint32_t index) override { emptied_ |= uint64_t{1} << index; }
  bool active() const override;
  bool hasFeature(uint32_t bit) const override { return (driverFeatures_ >> bit & 1) != 0; }
  void configChanged() override;
  Status watch(int fd, uint32_t events, uint64_t token) override;
  void forget(int fd) override { loop_->forget(fd); }

  uint32_t readRegister(uint64_t offset) const;
  void readConfig(uint64_t offset, uint8_t* data, uint32_t size) const;
  void writeRegister(uint64_t offset, uint32_t value);
  void writeSetup(uint64_t offset, uint32_t value);
  void writeStatus(uint32_t value);
  void activate();
  /** What the driver wants, it is offered. */
  bool agreed() const;
  Status attachQueues();
  void reset();
  Status serve(uint64_t token, uint32_t events);
  Status settle();
  void raise(uint32_t cause);
  void fail();
  void raiseForQueues();

  std::unique_ptr<Device> device_;
  const GuestMemory& memory_;
  EventLoop* loop_;
  EventFd interrupt_;
  std::vector<EventFd> doorbells_;
  uint16_t admitted_;

  std::mutex lock_;
  std::vector<QueueSetup> setups_;
  std::vector<Queue> queues_;
  std::vector<Watchfulness> watches_;
  /** Bits of queues whose drivers have to be asked to ring. */
  uint64_t emptied_ = 0;
  uint64_t driverFeatures_ = 0;
  uint32_t featuresPart_ = 0;
  uint32_t driverFeaturesPart_ = 0;
  uint32_t selected_ = 0;
  uint32_t status_ = 0;
  /** Read and acknowledged at every interrupt, so without the lock that a busy loop holds. */
  std::atomic<uint32_t> causes_ = 0;
  uint32_t configGeneration_ = 0;
  TransportCounts counts_;
};

}  // namespace bulkhead::vm
