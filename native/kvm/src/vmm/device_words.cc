#include "vmm/device_words.h"

#include <cerrno>

#include "sys/file.h"
#include "vmm/named_file.h"

namespace bulkhead::vm {

DeviceWords::DeviceWords(std::string_view text) {
  size_t end = text.find(',');
  kind_ = text.substr(0, end);
  while (end != std::string_view::npos) {
    text.remove_prefix(end + 1);
    end = text.find(',');
    const std::string_view word = text.substr(0, end);
    const size_t equals = word.find('=');
    words_.push_back({std::string(word.substr(0, equals)),
                      std::string(equals == std::string_view::npos ? "" : word.substr(equals + 1))});
  }
}

bool DeviceWords::has(std::string_view key) {
  return find(key) != nullptr;
}

std::string DeviceWords::text(std::string_view key) {
  const Word* word = find(key);
  return word == nullptr ? "" : word->value;
}

Result<uint64_t> DeviceWords::number(std::string_view key, uint64_t limit, uint64_t otherwise) {
  const Word* word = find(key);
  if (word == nullptr) return otherwise;
  uint64_t number = 0;
  if (!sys::parseUnsigned(word->value, limit, &number)) return failure("number of a device out of range", EINVAL, key);
  return number;
}

Result<Fd> DeviceWords::file(std::string_view key, int flags) {
  const Word* word = find(key);
  if (word == nullptr) return failure("word of a device missing", EINVAL, key);
  return openNamed(word->value, flags);
}

Result<RateLimits> DeviceWords::limits() {
  constexpr uint64_t kMost = uint64_t{1} << 62;
  RateLimits limits;
  limits.bytes = {TRY(number("bytes-per-second", kMost, 0)), TRY(number("burst-bytes", kMost, 0))};
  limits.operations = {TRY(number("operations-per-second", kMost, 0)), TRY(number("burst-operations", kMost, 0))};
  return limits;
}

Status DeviceWords::finish() const {
  for (const Word& word : words_) {
    if (!word.asked) return failure("unknown word of a device", EINVAL, word.key);
  }
  return Done{};
}

DeviceWords::Word* DeviceWords::find(std::string_view key) {
  for (Word& word : words_) {
    if (word.key != key) continue;
    word.asked = true;
    return &word;
  }
  return nullptr;
}

}  // namespace bulkhead::vm
