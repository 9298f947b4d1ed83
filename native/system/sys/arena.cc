#include "sys/arena.h"

#include <sys/mman.h>

#include <cstring>

namespace bulkhead {

Arena::Arena(size_t capacityBytes) {
  void* base = mmap(nullptr, capacityBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return;
  base_ = static_cast<char*>(base);
  capacity_ = capacityBytes;
}

Arena::~Arena() {
  release();
}

void Arena::release() {
  if (base_ != nullptr) munmap(base_, capacity_);
  base_ = nullptr;
  capacity_ = 0;
  used_ = 0;
}

void* Arena::allocate(size_t sizeBytes, size_t alignment) {
  const size_t start = (used_ + alignment - 1) & ~(alignment - 1);
  if (start > capacity_ || sizeBytes > capacity_ - start) {
    exhausted_ = true;
    return nullptr;
  }
  used_ = start + sizeBytes;
  return base_ + start;
}

Str Arena::copy(std::string_view text) {
  char* bytes = static_cast<char*>(allocate(text.size() + 1, 1));
  if (bytes == nullptr) return {};
  if (!text.empty()) memcpy(bytes, text.data(), text.size());
  bytes[text.size()] = '\0';
  return {bytes, static_cast<uint32_t>(text.size())};
}

}  // namespace bulkhead
