// A state file as a whole: what it is, of which version, how long, and whether it is what was written.
#pragma once

#include <string>
#include <string_view>

#include "sys/result.h"

namespace bulkhead::vm {

/** Of another layout; there is one version at a time. */
inline constexpr uint32_t kStateVersion = 1;
/** 64 processors and 16 devices take an eighth. */
inline constexpr size_t kMaxStateBytes = 8 * 1024 * 1024;

/** Head, content and checksum. */
std::string sealState(std::string_view content);

/**
 * The content, inside `file`.
 * @returns EBADMSG for what is no state file, has another length than it says or another content than was written;
 * ENOTSUP for another version
 */
Result<std::string_view> openState(std::string_view file);

/** All of a file. @returns EFBIG when it is too long to be a state file */
Result<std::string> readState(int file);

}  // namespace bulkhead::vm
