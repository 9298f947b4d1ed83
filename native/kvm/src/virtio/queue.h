// A split virtqueue, from the device's side.
#pragma once

#include "virtio/chain.h"

namespace bulkhead::vm {

/** What the driver says about a queue before it starts the device. */
struct QueueSetup {
  uint16_t size = 0;
  bool ready = false;
  uint64_t descriptors = 0;
  uint64_t available = 0;
  uint64_t used = 0;
};

/** How far the device is in a queue. */
struct QueuePosition {
  uint16_t next = 0;
  uint16_t given = 0;
  uint16_t told = 0;
};

/**
 * The rings are found in the guest's RAM once, when the device starts; nothing the driver says later moves them. Of
 * what lies in them, every value is read once. A queue that the driver did not make ready is always empty.
 */
class Queue {
 public:
  static constexpr uint16_t kMaxSize = Chain::kMaxSegments;

  Queue() = default;
  /** @returns EPROTO with the rule that the driver broke */
  static Result<Queue> attach(const QueueSetup& setup, const GuestMemory& memory, bool eventIndex);

  /** The next request, if there is one. @returns EPROTO with the rule that the driver broke */
  Result<bool> pop(Chain* chain);
  /** So many requests that were popped last stay with the driver. */
  void putBack(uint16_t count = 1) { next_ = static_cast<uint16_t>(next_ - count); }
  /** A request is there that was not taken. */
  bool waiting() const { return size_ != 0 && published() != next_; }
  QueuePosition position() const { return {next_, given_, told_}; }
  /** Any position is one that a driver could have brought about, in a queue that is ready; in others there is none. */
  void goOnFrom(const QueuePosition& position) {
    if (size_ == 0) return;
    next_ = position.next;
    given_ = position.given;
    told_ = position.told;
  }
  /** Of those, as the driver says. */
  uint16_t waitingCount() const { return size_ == 0 ? 0 : static_cast<uint16_t>(published() - next_); }
  /** 0 for one that is not ready. */
  uint16_t size() const { return size_; }
  /** Gives a request back, with so many bytes written to its first writable buffers. */
  void push(uint16_t head, uint32_t writtenBytes);
  /**
   * Asks for a doorbell when another request comes than the `seen` ones that were put back; false when one is there by
   * now.
   */
  bool rest(uint16_t seen = 0);
  /** Whether requests were given back since the last call and the driver wants to hear of it. */
  bool takeInterrupt();

 private:
  ring::Descriptor descriptor(uint16_t index) const;
  uint16_t published() const;
  Status collect(uint16_t head, Chain* chain) const;

  const GuestMemory* memory_ = nullptr;
  const uint64_t* descriptors_ = nullptr;
  // Flags, index and elements as 16-bit words.
  const uint16_t* available_ = nullptr;
  uint16_t* used_ = nullptr;
  uint16_t size_ = 0;
  bool eventIndex_ = false;
  /** Of requests taken and of requests given back, modulo 2^16. */
  uint16_t next_ = 0;
  uint16_t given_ = 0;
  /** `given_` when the driver was last told. */
  uint16_t told_ = 0;
};

}  // namespace bulkhead::vm
