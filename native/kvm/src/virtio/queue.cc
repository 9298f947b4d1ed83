#include "virtio/queue.h"

#include <atomic>
#include <cerrno>

namespace bulkhead::vm {
namespace {

// Both rings begin with flags and index; then come heads of one word, or elements of two times 32 bits.
constexpr size_t kFlags = 0;
constexpr size_t kIndex = 1;
constexpr size_t kElements = 2;
constexpr size_t kUsedWords = 4;

Error broken(std::string_view rule) {
  return failure("virtqueue", EPROTO, rule);
}

uint16_t load(const uint16_t* word) {
  return __atomic_load_n(word, __ATOMIC_RELAXED);
}

/** The rings of both sides are ordered by full fences: each side writes its index and then reads the other's wish. */
void fence() {
  std::atomic_thread_fence(std::memory_order_seq_cst);
}

}  // namespace

Result<Queue> Queue::attach(const QueueSetup& setup, const GuestMemory& memory, bool eventIndex) {
  Queue queue;
  if (!setup.ready) return queue;
  const uint16_t size = setup.size;
  if (size == 0 || size > kMaxSize || (size & (size - 1)) != 0) return broken("a queue's size is a power of 2");
  if (setup.descriptors % ring::kDescriptorAlignment != 0 || setup.available % ring::kAvailableAlignment != 0 ||
      setup.used % ring::kUsedAlignment != 0) {
    return broken("a ring is not aligned");
  }
  queue.memory_ = &memory;
  queue.descriptors_ = reinterpret_cast<uint64_t*>(memory.at(setup.descriptors, ring::descriptorBytes(size)));
  queue.available_ = reinterpret_cast<uint16_t*>(memory.at(setup.available, ring::availableBytes(size)));
  queue.used_ = reinterpret_cast<uint16_t*>(memory.at(setup.used, ring::usedBytes(size)));
  if (queue.descriptors_ == nullptr || queue.available_ == nullptr || queue.used_ == nullptr) {
    return broken("a ring outside the guest's RAM");
  }
  queue.size_ = size;
  queue.eventIndex_ = eventIndex;
  return queue;
}

Result<bool> Queue::pop(Chain* chain) {
  if (size_ == 0) return false;
  const uint16_t waiting = static_cast<uint16_t>(published() - next_);
  if (waiting == 0) return false;
  if (waiting > size_) return broken("more requests than the queue has places");
  TRY(collect(load(available_ + kElements + next_ % size_), chain));
  ++next_;
  return true;
}

void Queue::push(uint16_t head, uint32_t writtenBytes) {
  if (size_ == 0) return;
  uint16_t* const element = used_ + kElements + given_ % size_ * kUsedWords;
  const uint32_t values[2] = {head, writtenBytes};
  memcpy(element, values, sizeof values);
  ++given_;
  __atomic_store_n(used_ + kIndex, given_, __ATOMIC_RELEASE);
}

bool Queue::rest(uint16_t seen) {
  if (size_ == 0) return true;
  const auto wanted = static_cast<uint16_t>(next_ + seen);
  if (eventIndex_) __atomic_store_n(used_ + kElements + size_ * kUsedWords, wanted, __ATOMIC_RELAXED);
  fence();
  return published() == wanted;
}

bool Queue::takeInterrupt() {
  if (given_ == told_) return false;
  const uint16_t since = static_cast<uint16_t>(given_ - told_);
  told_ = given_;
  fence();
  if (!eventIndex_) return (load(available_ + kFlags) & ring::kNoInterrupt) == 0;
  // Virtio 1.2, 2.7.10: wanted when the index went past the event, which is any number at all in a hostile ring.
  const uint16_t event = load(available_ + kElements + size_);
  return static_cast<uint16_t>(given_ - event - 1) < since;
}

uint16_t Queue::published() const {
  return __atomic_load_n(available_ + kIndex, __ATOMIC_ACQUIRE);
}

ring::Descriptor Queue::descriptor(uint16_t index) const {
  const uint64_t* const at = descriptors_ + size_t{index} * 2;
  // Two loads that the compiler may not repeat.
  const uint64_t words[2] = {__atomic_load_n(at, __ATOMIC_RELAXED), __atomic_load_n(at + 1, __ATOMIC_RELAXED)};
  ring::Descriptor descriptor;
  memcpy(&descriptor, words, sizeof descriptor);
  return descriptor;
}

Status Queue::collect(uint16_t head, Chain* chain) const {
  chain->begin(head);
  uint16_t index = head;
  for (uint16_t steps = 0; steps < size_; ++steps) {
    if (index >= size_) return broken("a descriptor beyond the end of the table");
    const ring::Descriptor next = descriptor(index);
    TRY(chain->add(next, *memory_));
    if ((next.flags & ring::kNext) == 0) return Done{};
    index = next.next;
  }
  return broken("a chain that has no end");
}

}  // namespace bulkhead::vm
