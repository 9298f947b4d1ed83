// The words of one device on the command line, each of which has to be asked for.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sys/fd.h"
#include "sys/result.h"
#include "virtio/rate_limit.h"

namespace bulkhead::vm {

class DeviceWords {
 public:
  explicit DeviceWords(std::string_view text);

  std::string_view kind() const { return kind_; }
  bool has(std::string_view key);
  /** The key's value; empty without one. */
  std::string text(std::string_view key);
  /** @returns EINVAL when the value is no number or above `limit`; `otherwise` without the key */
  Result<uint64_t> number(std::string_view key, uint64_t limit, uint64_t otherwise);
  /** The file or descriptor that the key names. @returns EINVAL without the key */
  Result<Fd> file(std::string_view key, int flags);
  /** `bytes-per-second`, `operations-per-second`, and `burst-bytes`, `burst-operations`. */
  Result<RateLimits> limits();
  /** @returns EINVAL with the first word that nobody asked for */
  Status finish() const;

 private:
  struct Word {
    std::string key;
    std::string value;
    bool asked = false;
  };
  Word* find(std::string_view key);

  std::string kind_;
  std::vector<Word> words_;
};

}  // namespace bulkhead::vm
