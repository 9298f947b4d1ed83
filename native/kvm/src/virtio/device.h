// What a virtio device is, apart from how its driver reaches it.
#pragma once

#include <string_view>

#include "events/event_fd.h"
#include "memory/guest_memory.h"
#include "snapshot/state_bytes.h"
#include "virtio/queue.h"

namespace bulkhead::vm {

/** Virtio 1.2, chapter 5. */
enum class DeviceKind : uint32_t { net = 1, block = 2, console = 3, entropy = 4, balloon = 5, vsock = 19, files = 26 };

/** What carries a device: its queues while it is active, the guest's memory, and the loop. */
class Carrier {
 public:
  /** Requests that one queue is served before others have their turn. */
  static constexpr uint32_t kTurn = Queue::kMaxSize;

  virtual ~Carrier() = default;
  virtual const GuestMemory& memory() const = 0;
  virtual Queue& queue(uint32_t index) = 0;
  /** Tells the driver of requests that were given back, if it wants to hear of them: at the latest after a call. */
  virtual void tell(uint32_t index) = 0;
  /** The queue's doorbell rings once more, after whatever else waits. */
  virtual void ringAgain(uint32_t index) = 0;
  /** Nothing waits in the queue: the driver will be asked to ring, unless something comes meanwhile. */
  virtual void emptied(uint32_t index) = 0;
  /** What the driver said of a queue, for whoever serves it in another process. */
  virtual const QueueSetup& setup(uint32_t index) const = 0;
  /** Another process gave requests back, and has seen that the driver wants to hear of it. */
  virtual void servedElsewhere() = 0;
  /** The driver has accepted the device and its queues are in place. */
  virtual bool active() const = 0;
  /** Accepted by the driver, once active. */
  virtual bool hasFeature(uint32_t bit) const = 0;
  /** The configuration space has changed. */
  virtual void configChanged() = 0;
  /** `token` comes back in Device::onHost. */
  virtual Status watch(int fd, uint32_t events, uint64_t token) = 0;
  virtual void forget(int fd) = 0;

  /**
   * Serves a queue until it is empty, others must have a turn, or `serve` declines a request (false), which then stays.
   * `serve` is called with the chain and answers Result<bool>.
   */
  template <class Serve>
  Status drain(uint32_t index, Serve serve) {
    for (uint32_t turn = 0; turn < kTurn; ++turn) {
      if (!TRY(queue(index).pop(&chain_))) {
        emptied(index);
        return Done{};
      }
      if (!TRY(serve(chain_))) {
        queue(index).putBack();
        return Done{};
      }
    }
    ringAgain(index);
    return Done{};
  }

 private:
  Chain chain_;
};

/**
 * Every call comes with the carrier's lock held. An error from one that may fail means that the driver broke a rule
 * (EPROTO) or the host failed it: the device says "needs reset" and stays still until the driver resets it.
 */
class Device {
 public:
  virtual ~Device() = default;
  virtual DeviceKind kind() const = 0;
  virtual uint32_t queueCount() const = 0;
  /** Bits of this kind of device (below 24, 50 and above). */
  virtual uint64_t features() const { return 0; }
  /** The configuration space as it is now. */
  virtual std::string_view config() const { return {}; }
  virtual void writeConfig(uint64_t, const uint8_t*, uint32_t) {}

  /** Once, before the machine runs; the carrier outlives the device's use of it. */
  void carriedBy(Carrier* carrier) { carrier_ = carrier; }
  /** The driver has set everything up; each doorbell rings next. */
  virtual Status activate() { return Done{}; }
  /** At any time. When it returns, nothing of the guest's memory is in use and no descriptor watched. */
  virtual void reset() {}
  virtual Status onDoorbell(uint32_t queue) = 0;
  virtual Status onHost(uint64_t, uint32_t) { return Done{}; }
  /**
   * The machine is over: what its guest asked for before is still done, as long as the host takes it, and at most until
   * CLOCK_MONOTONIC is there.
   */
  virtual void conclude(uint64_t) {}

  /** Another process is at its queues: no snapshot can be taken of what that one holds. */
  virtual bool servedElsewhere() const { return false; }
  /** While no processor runs: what is under way in the host is finished and given back. */
  virtual void settle() {}
  /** Settled: what the driver cannot say again. Nothing of the host's side is a part of it. */
  virtual void save(StateWriter*) const {}
  /** The other way, in a device that is as new, and activated if it was. What is read is hostile. */
  virtual Status load(StateReader*) { return Done{}; }

 protected:
  Carrier& carrier() const { return *carrier_; }

 private:
  Carrier* carrier_ = nullptr;
};

}  // namespace bulkhead::vm
