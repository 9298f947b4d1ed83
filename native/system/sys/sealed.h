// Memory files whose content nobody can change any more, whoever has them open.
#pragma once

#include <string_view>

#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::sys {

/** A file with these bytes; its offset is at the end. */
Result<Fd> sealedBytes(const char* name, std::string_view bytes);

/** A copy of an executable, open for reading only: one that anybody has open for writing cannot be run (ETXTBSY). */
Result<Fd> sealedProgram(const char* name, int source);

}  // namespace bulkhead::sys
