// A virtio driver for tests: well-behaved unless a test asks for something else.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "memory/layout.h"
#include "virtio/transport.h"

namespace bulkhead::vm {

/** A part of the guest's memory that a request names. */
struct Buffer {
  uint64_t address;
  uint32_t sizeBytes;
  bool writable = false;
};

struct Used {
  uint32_t head;
  uint32_t sizeBytes;
};

/**
 * A device with 4 MiB of RAM, whose lower half holds the rings and whose upper half is the test's. `ring` does what the
 * loop does when a doorbell rings, in the caller's thread.
 */
class Driver {
 public:
  static constexpr uint16_t kQueueSize = 16;
  static constexpr uint64_t kData = 2 * layout::kMiB;
  static constexpr uint64_t kEventIndex = uint64_t{1} << 29;

  explicit Driver(std::unique_ptr<Device> device);

  uint32_t reg(uint64_t offset);
  void set(uint64_t offset, uint32_t value);
  uint32_t status() { return reg(0x70); }
  bool needsReset() { return (status() & 0x40) != 0; }

  /** Up to the queues; `features` beside VERSION_1. */
  void begin(uint64_t features = 0);
  /** All queues in their places; then the device works. */
  void start(uint64_t features = 0);
  void setUpQueue(uint32_t queue, uint16_t size = kQueueSize);
  void finish() { set(0x70, 0xf); }
  /** Rings of a queue, in the guest's memory. */
  static uint64_t descriptors(uint32_t queue) { return 0x10000 + uint64_t{queue} * 0x10000; }
  static uint64_t available(uint32_t queue) { return descriptors(queue) + 0x4000; }
  static uint64_t used(uint32_t queue) { return descriptors(queue) + 0x8000; }

  void describe(uint32_t queue, uint16_t index, const Buffer& buffer, int next = -1);
  void publish(uint32_t queue, uint16_t head);
  /** One request from descriptor `first` on; answers its head. */
  uint16_t add(uint32_t queue, const std::vector<Buffer>& buffers, uint16_t first = 0);
  void ring(uint32_t queue) { transport->onReady(queue, 1); }
  /** Serves whatever the loop would, for so long; true when something came. */
  bool wait(int milliseconds);
  /** Serves until so many requests of a queue were given back; false when that takes more than ten seconds. */
  bool waitForUsed(uint32_t queue, uint16_t count);
  uint16_t usedCount(uint32_t queue);
  Used usedAt(uint32_t queue, uint16_t index);
  bool interrupted();

  void put(uint64_t address, std::string_view bytes);
  std::string get(uint64_t address, size_t size);

  GuestMemory memory = GuestMemory::create({.sizeBytes = 4 * layout::kMiB, .shared = true}).take();
  EventLoop loop = EventLoop::create().take();
  std::unique_ptr<Transport> transport;

 private:
  uint16_t published_[8] = {};
};

}  // namespace bulkhead::vm
