// Another of the guest's processors, which changes rings while a device reads them.
#pragma once

#include <atomic>
#include <thread>

#include "driver.h"

namespace bulkhead::vm {

/** Changes words of a queue's rings until the end of its life. */
class Meddler {
 public:
  Meddler(Driver* driver, uint32_t queue, uint64_t seed)
      : thread_([this, driver, queue, seed] {
          uint64_t random = seed | 1;
          while (!stop_.load(std::memory_order_relaxed)) {
            random = random * 6364136223846793005 + 1442695040888963407;
            const uint64_t place = (random >> 40) % 0x110;
            const uint64_t base = (random >> 33 & 1) != 0 ? Driver::descriptors(queue) : Driver::available(queue);
            auto* word = reinterpret_cast<uint16_t*>(driver->memory.at(base + place / 2 * 2, 2));
            __atomic_store_n(word, static_cast<uint16_t>(random >> 16), __ATOMIC_RELAXED);
          }
        }) {}
  ~Meddler() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

}  // namespace bulkhead::vm
