#include "reach/request.h"

#include <cerrno>

#include "sys/file.h"

namespace bulkhead::reach {

Result<const char*> Request::text(const char* name) {
  const size_t size = rest_.find('\0');
  if (size == std::string_view::npos) return failure("request", EBADMSG, name);
  const char* value = rest_.data();
  rest_.remove_prefix(size + 1);
  return value;
}

Result<uint64_t> Request::number(const char* name, uint64_t limit) {
  const char* digits = TRY(text(name));
  uint64_t value = 0;
  if (!sys::parseUnsigned(digits, limit, &value)) return failure("request", EBADMSG, name);
  return value;
}

Result<bool> Request::flag(const char* name) {
  return TRY(number(name, 1)) == 1;
}

Result<sys::ProcessRef> Request::process() {
  // PID_MAX_LIMIT of 64-bit kernels
  const uint64_t pid = TRY(number("pid", 4 * 1024 * 1024));
  const uint64_t ticks = TRY(number("startTicks", ~uint64_t{0}));
  return sys::ProcessRef{static_cast<pid_t>(pid), ticks};
}

Status Request::end() const {
  if (!rest_.empty()) return failure("request", EBADMSG, "too many fields");
  return Done{};
}

}  // namespace bulkhead::reach
