// Views into memory that somebody else owns, usually an Arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bulkhead {

/** A run of T owned elsewhere. */
template <class T>
struct Span {
  T* data = nullptr;
  uint32_t count = 0;

  T* begin() const { return data; }
  T* end() const { return data + count; }
  T& operator[](size_t index) const { return data[index]; }
  bool empty() const { return count == 0; }
};

/** Text owned elsewhere, always followed by a NUL byte and without one inside. */
struct Str {
  const char* data = "";
  uint32_t size = 0;

  const char* c_str() const { return data; }
  std::string_view view() const { return {data, size}; }
  bool empty() const { return size == 0; }
};

}  // namespace bulkhead
