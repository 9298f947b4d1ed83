#include "cgroup/stat_text.h"

#include <cstdlib>

namespace bulkhead::cgroup {
namespace {

/** The sum of the numbers that follow each `wanted`. */
uint64_t sumAfter(const std::string& text, const std::string& wanted) {
  uint64_t total = 0;
  for (size_t at = text.find(wanted); at != std::string::npos; at = text.find(wanted, at + 1)) {
    total += strtoull(text.c_str() + at + wanted.size(), nullptr, 10);
  }
  return total;
}

}  // namespace

uint64_t keyed(const std::string& text, std::string_view key) {
  size_t at = 0;
  while (at < text.size()) {
    if (text.compare(at, key.size(), key) == 0 && text[at + key.size()] == ' ') {
      return strtoull(text.c_str() + at + key.size() + 1, nullptr, 10);
    }
    const size_t newline = text.find('\n', at);
    if (newline == std::string::npos) break;
    at = newline + 1;
  }
  return 0;
}

uint64_t summed(const std::string& text, std::string_view operation) {
  return sumAfter(text, " " + std::string(operation) + " ");
}

uint64_t summedWord(const std::string& text, std::string_view key) {
  return sumAfter(text, " " + std::string(key) + "=");
}

}  // namespace bulkhead::cgroup
