// The bytes of a state file: written in order, and read again in the same order with every length checked.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "sys/result.h"

namespace bulkhead::vm {

/** Values that are all value: no padding in which memory of this process would leave it. */
template <class T>
concept Plain = std::has_unique_object_representations_v<T> && std::is_trivially_copyable_v<T>;

class StateWriter {
 public:
  template <Plain T>
  void put(const T& value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <Plain T>
  void putAll(const std::vector<T>& values) {
    put(static_cast<uint32_t>(values.size()));
    bytes_.append(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
  }
  void putText(std::string_view text) {
    put(static_cast<uint32_t>(text.size()));
    bytes_ += text;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

/** After the first value that is not there, or is none, every other is zero and `finish` says so. */
class StateReader {
 public:
  explicit StateReader(std::string_view bytes) : left_(bytes) {}

  template <Plain T>
  T get() {
    T value = {};
    const std::string_view bytes = take(sizeof value);
    if (!bytes.empty()) memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  /** As many as are said, and no more than `most`. */
  template <Plain T>
  std::vector<T> getAll(uint32_t most) {
    const auto count = get<uint32_t>();
    if (count > most) refuse();
    const std::string_view bytes = take(size_t{count} * sizeof(T));
    std::vector<T> values(bytes.size() / sizeof(T));
    if (!bytes.empty()) memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  std::string_view getText(uint32_t most) {
    const auto size = get<uint32_t>();
    if (size > most) refuse();
    return take(size);
  }
  /** For a value that cannot be. */
  void refuse() {
    refused_ = true;
    left_ = {};
  }
  bool refused() const { return refused_; }
  /** @returns EBADMSG unless everything was there, could be, and was read */
  Status finish(std::string_view what) const {
    if (refused_ || !left_.empty()) return failure("state file", EBADMSG, what);
    return Done{};
  }

 private:
  std::string_view take(size_t size) {
    if (size > left_.size()) refuse();
    if (refused_) return {};
    const std::string_view taken = left_.substr(0, size);
    left_.remove_prefix(size);
    return taken;
  }

  std::string_view left_;
  bool refused_ = false;
};

}  // namespace bulkhead::vm
