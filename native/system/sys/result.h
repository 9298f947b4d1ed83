// A value or the kernel call that failed. Nothing above src/sys reads errno: it reads this.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

namespace bulkhead {

/** Text of bounded size that lives inside its owner, so that an error can be built without memory. */
template <size_t kCapacity>
class FixedText {
 public:
  FixedText() { data_[0] = '\0'; }
  FixedText(std::string_view text) { assign(text); }  // NOLINT: conversion is the purpose
  FixedText(const char* text) { assign(text == nullptr ? std::string_view() : std::string_view(text)); }

  void assign(std::string_view text) {
    size_ = text.size() < kCapacity ? text.size() : kCapacity - 1;
    if (size_ > 0) memcpy(data_, text.data(), size_);
    data_[size_] = '\0';
  }
  void append(std::string_view text) {
    const size_t room = kCapacity - 1 - size_;
    const size_t count = text.size() < room ? text.size() : room;
    if (count > 0) memcpy(data_ + size_, text.data(), count);
    size_ += count;
    data_[size_] = '\0';
  }
  const char* c_str() const { return data_; }
  std::string_view view() const { return {data_, size_}; }
  bool empty() const { return size_ == 0; }

 private:
  size_t size_ = 0;
  char data_[kCapacity];
};

/** What failed: the call, its errno and the path or name it was about (may be empty). */
struct Error {
  const char* op = "";
  int err = 0;
  FixedText<192> path;
};

struct Done {};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}  // NOLINT: conversion is the purpose
  Result(const Error& error) : error_(error) {}  // NOLINT: conversion is the purpose

  bool ok() const { return value_.has_value(); }
  T& value() { return *value_; }
  T take() { return std::move(*value_); }
  const Error& error() const { return *error_; }

 private:
  std::optional<T> value_;
  std::optional<Error> error_;
};

using Status = Result<Done>;

inline Error failure(const char* op, int err, std::string_view path = {}) {
  return Error{op, err, FixedText<192>(path)};
}

}  // namespace bulkhead

/** The value of a Result, or return its error from the enclosing function. */
#define TRY(expression)                        \
  ({                                           \
    auto result_ = (expression);               \
    if (!result_.ok()) return result_.error(); \
    result_.take();                            \
  })
