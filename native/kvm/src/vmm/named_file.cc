#include "vmm/named_file.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>
#include <string_view>

#include "sys/file.h"
#include "sys/retry.h"

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

Result<Fd> listenAt(const std::string& path, int type) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return failure("socket", ENAMETOOLONG, path);
  memcpy(address.sun_path, path.data(), path.size());
  Fd fd = TRY(sys::opened("socket", [&] { return socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); }));
  TRY(sys::check(
      "bind", [&] { return bind(fd.get(), reinterpret_cast<const struct sockaddr*>(&address), sizeof address); },
      path));
  TRY(sys::check(
      "listen", [&] { return listen(fd.get(), 16); }, path));
  return fd;
}

Result<Fd> connectTo(const std::string& path, int type) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) return failure("socket", ENAMETOOLONG, path);
  memcpy(address.sun_path, path.data(), path.size());
  Fd fd = TRY(sys::opened("socket", [&] { return socket(AF_UNIX, type | SOCK_CLOEXEC, 0); }));
  TRY(sys::check(
      "connect", [&] { return connect(fd.get(), reinterpret_cast<const struct sockaddr*>(&address), sizeof address); },
      path));
  return fd;
}

}  // namespace bulkhead::vm
