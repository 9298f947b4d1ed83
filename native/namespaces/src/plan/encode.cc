#include <type_traits>

#include "plan/codec.h"
#include "plan/fields.h"
#include "plan/header.h"

namespace bulkhead::plan {
namespace {

class Writer {
 public:
  explicit Writer(std::string* bytes) : bytes_(bytes) {}

  template <class T>
  bool operator()(T& value) {
    if constexpr (std::is_integral_v<T>) {
      put(&value, sizeof value);
      return true;
    } else {
      return fields(*this, value);
    }
  }

  template <class T>
  requires std::is_enum_v<T>
  bool operator()(T& value, uint8_t) {
    const uint8_t number = static_cast<uint8_t>(value);
    put(&number, 1);
    return true;
  }

  bool operator()(Str& text) {
    put(&text.size, sizeof text.size);
    put(text.data, text.size + 1);
    return true;
  }

  template <class T>
  bool operator()(Span<T>& span) {
    put(&span.count, sizeof span.count);
    for (T& item : span) (*this)(item);
    return true;
  }

 private:
  void put(const void* data, size_t size) { bytes_->append(static_cast<const char*>(data), size); }

  std::string* bytes_;
};

template <class Plan>
std::string encodeAs(Kind kind, const Plan& plan) {
  const auto header = headerOf(kind);
  std::string bytes(header.data(), header.size());
  bytes.reserve(8192);
  Writer writer(&bytes);
  // The archive signature is shared with the reader, which does change the struct; writing only looks.
  writer(const_cast<Plan&>(plan));
  return bytes;
}

}  // namespace

std::string encode(const Container& container) {
  return encodeAs(Kind::container, container);
}
std::string encode(const Exec& exec) {
  return encodeAs(Kind::exec, exec);
}
std::string encode(const Birth& birth) {
  return encodeAs(Kind::birth, birth);
}

}  // namespace bulkhead::plan
