// The kernel's statistics files, which are lines of words and numbers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace bulkhead::cgroup {

/** The number after `key` at the start of a line of "key value" lines; 0 without one. */
uint64_t keyed(const std::string& text, std::string_view key);

/** The sum over all devices of a "M:m Operation value" file of v1's throttle policy. */
uint64_t summed(const std::string& text, std::string_view operation);

/** The sum over all devices of a "key=value" word of v2's io.stat. */
uint64_t summedWord(const std::string& text, std::string_view key);

}  // namespace bulkhead::cgroup
