// What every part of the compiler shares: memory, warnings, the first error, and typed reads of JSON values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "plan/json.h"
#include "sys/arena.h"

namespace bulkhead::plan {

struct CompileError {
  std::string pointer;
  std::string message;
};

/** Reads return false after recording an error; an absent value leaves the target as it was and is no error. */
class Context {
 public:
  explicit Context(Arena* arena) : arena_(arena) {}

  bool fail(const View& at, std::string message);
  void warn(const View& at, const std::string& message);
  void warnText(const std::string& warning);

  bool text(const View& at, Str* target);
  /** As text, but required and not empty. */
  bool requiredText(const View& at, Str* target);
  /** An absolute path of at most 4095 bytes; absent is an error. */
  bool absolutePath(const View& at, Str* target);
  /** A container path without leading slash; "." dropped, ".." refused. */
  bool containerPath(const View& at, Str* target);
  bool boolean(const View& at, bool* target);
  bool integer(const View& at, int64_t minimum, int64_t maximum, int64_t* target);
  bool unsigned32(const View& at, uint32_t* target);
  bool unsigned64(const View& at, uint64_t* target);
  bool texts(const View& at, Span<Str>* target);
  bool object(const View& at);
  bool array(const View& at);

  template <class T>
  bool store(const View& at, const std::vector<T>& items, Span<T>* target) {
    T* copies = arena_->make<T>(items.size());
    if (copies == nullptr && !items.empty()) return fail(at, "too large");
    for (size_t index = 0; index < items.size(); ++index) copies[index] = items[index];
    *target = {copies, static_cast<uint32_t>(items.size())};
    return true;
  }
  Str keep(std::string_view text) { return arena_->copy(text); }

  Arena* arena() { return arena_; }
  const CompileError& error() const { return error_; }
  std::vector<std::string> takeWarnings() { return std::move(warnings_); }

 private:
  Arena* arena_;
  CompileError error_;
  std::vector<std::string> warnings_;
};

}  // namespace bulkhead::plan
