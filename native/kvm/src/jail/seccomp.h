// Lists of allowed system calls as filters of the kernel (seccomp(2)).
#pragma once

#include <cstdint>

#include "sys/result.h"
#include "sys/span.h"

namespace bulkhead::vm {

/** What an argument must be, in its lower 32 bits: all that the kernel reads of those that are compared here. */
struct Condition {
  enum class Kind : uint8_t { none, equals, hasNone };
  Kind kind = Kind::none;
  uint8_t argument = 0;
  /** The value, or the bits of which it has none. */
  uint32_t value = 0;
};

/** One system call that is allowed; several entries of one number are alternatives. */
struct AllowedCall {
  uint32_t number;
  const char* name;
  Condition condition = {};
};

/**
 * From here on this thread, and those it makes, do these calls and no others: anything else ends the whole process by
 * SIGSYS. `no_new_privs` must be set. The first entries are the cheapest.
 */
Status allowOnly(Span<const AllowedCall> calls);

}  // namespace bulkhead::vm
