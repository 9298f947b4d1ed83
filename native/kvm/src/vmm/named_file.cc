#include "vmm/named_file.h"

#include <fcntl.h>

#include <cerrno>
#include <string_view>

#include "sys/file.h"

namespace bulkhead::vm {

Result<Fd> openNamed(const std::string& name, int flags) {
  constexpr std::string_view kDescriptor = "fd:";
  constexpr uint64_t kMaxDescriptor = 1 << 20;
  if (!name.starts_with(kDescriptor)) return sys::openAt(AT_FDCWD, name.c_str(), flags);
  uint64_t number = 0;
  if (!sys::parseUnsigned(std::string_view(name).substr(kDescriptor.size()), kMaxDescriptor, &number)) {
    return failure("descriptor", EINVAL, name);
  }
  // A copy, so that one descriptor may be named twice; it is not inherited either.
  return sys::duplicate(static_cast<int>(number), 3);
}

}  // namespace bulkhead::vm
