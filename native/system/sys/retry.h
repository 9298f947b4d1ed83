// How the wrappers of syscalls.h turn a return value into a Result.
#pragma once

#include <cerrno>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::sys {

/** Repeats a call that a signal interrupted: none of ours means anything else by EINTR than "not done". */
template <class Call>
long retry(Call call) {
  long result;
  do result = call();
  while (result < 0 && errno == EINTR);
  return result;
}

template <class Call>
Status check(const char* op, Call call, std::string_view path = {}) {
  if (retry(call) < 0) return failure(op, errno, path);
  return Done{};
}

/** A call that answers a descriptor. */
template <class Call>
Result<Fd> opened(const char* op, Call call, std::string_view path = {}) {
  const long fd = retry(call);
  if (fd < 0) return failure(op, errno, path);
  return Fd(static_cast<int>(fd));
}

}  // namespace bulkhead::sys
