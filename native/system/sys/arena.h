// Memory that is given back all at once: plans are built and decoded in it.
#pragma once

#include <cstddef>
#include <new>
#include <string_view>

#include "sys/span.h"

namespace bulkhead {

/** Bump allocator over anonymous pages. Zeroed; never runs constructors' destructors; full means nullptr. */
class Arena {
 public:
  explicit Arena(size_t capacityBytes);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  void* allocate(size_t sizeBytes, size_t alignment);

  template <class T>
  T* make(size_t count) {
    if (count > capacity_ / sizeof(T)) return nullptr;
    T* items = static_cast<T*>(allocate(sizeof(T) * count, alignof(T)));
    for (size_t index = 0; items != nullptr && index < count; ++index) new (items + index) T();
    return items;
  }

  /** A NUL-terminated copy; an empty Str when the arena is full and the text was not. */
  Str copy(std::string_view text);
  /** True once any allocation was refused. */
  bool exhausted() const { return exhausted_; }
  /** Back to the kernel; everything handed out becomes invalid. */
  void release();

 private:
  char* base_ = nullptr;
  size_t capacity_ = 0;
  size_t used_ = 0;
  bool exhausted_ = false;
};

}  // namespace bulkhead
