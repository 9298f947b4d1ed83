// The answer of bulkhead-reach: one JSON object on standard output, written as it grows, so that no size is guessed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sys/result.h"

namespace bulkhead::reach {

/** Writes JSON. Names are ours and need no escaping; texts may be anything and become valid UTF-8. */
class Answer {
 public:
  void open(char bracket);
  void close(char bracket);
  /** The name of the member that follows. */
  void name(std::string_view text);
  void text(std::string_view text);
  void number(uint64_t value);
  void flag(bool value);
  void hex(const void* bytes, size_t size);
  void error(std::string_view step, const Error& error);
  /** Everything is on its way; false when the reader is gone. */
  bool flush();

 private:
  void put(std::string_view text);
  void separate();

  char buffer_[8192];
  size_t used_ = 0;
  bool first_ = true;
  bool named_ = false;
  bool broken_ = false;
};

}  // namespace bulkhead::reach
