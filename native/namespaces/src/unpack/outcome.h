#pragma once

#include <cerrno>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bulkhead::unpack {

// Who is at fault decides the exit code: a hostile or damaged layer, or the host (disk full, missing right).
enum class Fault : std::uint8_t { kLayer, kHost };

struct Failure {
  Fault fault = Fault::kHost;
  std::string_view code;  // one of the words in report.h
  std::string path;       // as the archive spelled it, or empty
  std::string detail;
  int error = 0;  // errno, or 0 when no system call failed
};

// Success, or the one failure that ends the run.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Failure failure) : failure_(std::move(failure)) {}
  bool ok() const { return !failure_.has_value(); }
  Failure& failure() { return *failure_; }

 private:
  std::optional<Failure> failure_;
};

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Failure failure) : failure_(std::move(failure)) {}
  bool ok() const { return value_.has_value(); }
  T& value() { return *value_; }
  Failure& failure() { return *failure_; }

 private:
  std::optional<T> value_;
  std::optional<Failure> failure_;
};

// A system call that failed for a reason the layer did not cause.
inline Failure host_failure(std::string_view operation, int error = errno) {
  return {Fault::kHost, "io", {}, std::string(operation), error};
}

inline Failure layer_failure(std::string_view code, std::string detail) {
  return {Fault::kLayer, code, {}, std::move(detail), 0};
}

}  // namespace bulkhead::unpack
