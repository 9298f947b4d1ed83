// Small whole files: kernel files are read and written in one call each.
#pragma once

#include <string_view>

#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::sys {

/** Reads at most `capacity - 1` bytes and ends them with NUL; EFBIG when the file is longer. */
Result<size_t> readFile(int at, const char* path, char* buffer, size_t capacity);
/** One write(2) to an existing file, as kernel files want it. */
Status writeFile(int at, const char* path, std::string_view text);
/** Writes `name` in the directory through a temporary name, so that a reader sees all of it or nothing. */
Status replaceFile(int directory, const char* name, std::string_view text);
/** An unsigned decimal; false when `text` is anything else or above `limit`. */
bool parseUnsigned(std::string_view text, uint64_t limit, uint64_t* value);

}  // namespace bulkhead::sys
