#include "reach/answer.h"

#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "sys/syscalls.h"

namespace bulkhead::reach {

void Answer::put(std::string_view text) {
  while (!text.empty()) {
    if (used_ == sizeof buffer_) flush();
    const size_t room = sizeof buffer_ - used_;
    const size_t count = text.size() < room ? text.size() : room;
    memcpy(buffer_ + used_, text.data(), count);
    used_ += count;
    text.remove_prefix(count);
  }
}

void Answer::separate() {
  if (!first_ && !named_) put(",");
  first_ = false;
  named_ = false;
}

void Answer::open(char bracket) {
  separate();
  put({&bracket, 1});
  first_ = true;
}

void Answer::close(char bracket) {
  put({&bracket, 1});
  first_ = false;
}

void Answer::name(std::string_view text) {
  separate();
  put("\"");
  put(text);
  put("\":");
  named_ = true;
}

void Answer::text(std::string_view text) {
  separate();
  put("\"");
  for (const char byte : text) {
    const unsigned char value = static_cast<unsigned char>(byte);
    // Names of files may be any bytes; those that are not ASCII are shown as the code points of the same numbers.
    if (value < 0x20 || value >= 0x7f || byte == '"' || byte == '\\') {
      char escaped[8];
      snprintf(escaped, sizeof escaped, "\\u%04x", value);
      put(escaped);
    } else {
      put({&byte, 1});
    }
  }
  put("\"");
}

void Answer::number(uint64_t value) {
  separate();
  char digits[24];
  snprintf(digits, sizeof digits, "%" PRIu64, value);
  put(digits);
}

void Answer::flag(bool value) {
  separate();
  put(value ? "true" : "false");
}

void Answer::hex(const void* bytes, size_t size) {
  separate();
  put("\"");
  for (size_t index = 0; index < size; ++index) {
    char digits[3];
    snprintf(digits, sizeof digits, "%02x", static_cast<const unsigned char*>(bytes)[index]);
    put({digits, 2});
  }
  put("\"");
}

void Answer::error(std::string_view step, const Error& error) {
  open('{');
  name("step");
  text(step);
  name("op");
  text(error.op);
  name("errno");
  number(static_cast<uint64_t>(error.err));
  name("path");
  text(error.path.view());
  close('}');
}

bool Answer::flush() {
  if (!broken_ && used_ > 0) broken_ = !sys::writeAll(STDOUT_FILENO, buffer_, used_).ok();
  used_ = 0;
  return !broken_;
}

}  // namespace bulkhead::reach
