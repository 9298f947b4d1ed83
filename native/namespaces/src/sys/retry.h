// How the wrappers of syscalls.h turn a return value into a Result.
#pragma once

#include <cerrno>

#include "sys/result.h"

namespace bulkhead::sys {

template <class Call>
long retry(Call call) {
  long result;
  do result = call();
  while (result < 0 && errno == EINTR);
  return result;
}

inline Status check(const char* op, long result, std::string_view path = {}) {
  if (result < 0) return failure(op, errno, path);
  return Done{};
}

}  // namespace bulkhead::sys
