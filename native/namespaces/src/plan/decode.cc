#include <cstring>
#include <type_traits>

#include "plan/codec.h"
#include "plan/fields.h"
#include "plan/header.h"

namespace bulkhead::plan {
namespace {

/** Reads forward through the bytes; every step checks what is left before it takes. */
class Reader {
 public:
  Reader(std::string_view bytes, Arena* arena) : cursor_(bytes.data()), left_(bytes.size()), arena_(arena) {}

  template <class T>
  bool operator()(T& value) {
    if constexpr (std::is_integral_v<T>) {
      return take(&value, sizeof value);
    } else {
      return fields(*this, value);
    }
  }

  template <class T>
  requires std::is_enum_v<T>
  bool operator()(T& value, uint8_t count) {
    uint8_t number;
    if (!take(&number, 1) || number >= count) return false;
    value = static_cast<T>(number);
    return true;
  }

  bool operator()(Str& text) {
    uint32_t size;
    if (!take(&size, sizeof size) || left_ == 0 || size > left_ - 1) return false;
    if (cursor_[size] != '\0' || memchr(cursor_, '\0', size) != nullptr) return false;
    text = {cursor_, size};
    cursor_ += size + 1;
    left_ -= size + 1;
    return true;
  }

  template <class T>
  bool operator()(Span<T>& span) {
    uint32_t count;
    // Every element takes at least one byte, so a count above what is left is a lie.
    if (!take(&count, sizeof count) || count > left_) return false;
    T* items = arena_->make<T>(count);
    if (items == nullptr) return false;
    for (uint32_t index = 0; index < count; ++index) {
      if (!(*this)(items[index])) return false;
    }
    span = {items, count};
    return true;
  }

  bool finished() const { return left_ == 0; }

 private:
  bool take(void* target, size_t size) {
    if (size > left_) return false;
    memcpy(target, cursor_, size);
    cursor_ += size;
    left_ -= size;
    return true;
  }

  const char* cursor_;
  size_t left_;
  Arena* arena_;
};

template <class Plan>
bool decodeAs(Kind kind, std::string_view bytes, Arena* arena, Plan* plan) {
  if (bytes.size() > kMaxPlanBytes || bytes.size() < kHeaderBytes) return false;
  if (memcmp(bytes.data(), headerOf(kind).data(), kHeaderBytes) != 0) return false;
  Reader reader(bytes.substr(kHeaderBytes), arena);
  return reader(*plan) && reader.finished();
}

}  // namespace

bool decode(std::string_view bytes, Arena* arena, Container* container) {
  return decodeAs(Kind::container, bytes, arena, container);
}

bool decode(std::string_view bytes, Arena* arena, Exec* exec) {
  return decodeAs(Kind::exec, bytes, arena, exec);
}

bool decode(std::string_view bytes, Arena* arena, Birth* birth) {
  return decodeAs(Kind::birth, bytes, arena, birth);
}

bool isBirth(std::string_view bytes) {
  return bytes.size() >= kHeaderBytes && memcmp(bytes.data(), headerOf(Kind::birth).data(), kHeaderBytes) == 0;
}

}  // namespace bulkhead::plan
