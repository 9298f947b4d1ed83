#include "oci/gate_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::oci {
namespace {

Result<struct sockaddr_un> addressIn(int directory, const char* name) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const int size = snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory, name);
  if (size < 0 || static_cast<size_t>(size) >= sizeof address.sun_path) return failure("socket", ENAMETOOLONG, name);
  return address;
}

Result<Fd> openSocket(int type) {
  Fd socket(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return failure("socket", errno);
  return socket;
}

Result<Fd> connectTo(int type, const struct sockaddr_un& address, const char* name) {
  Fd socket = TRY(openSocket(type));
  const auto* plain = reinterpret_cast<const struct sockaddr*>(&address);
  TRY(sys::check(
      "connect", [&] { return connect(socket.get(), plain, sizeof address); }, name));
  return socket;
}

}  // namespace

Result<Fd> listenIn(int directory, const char* name) {
  const struct sockaddr_un address = TRY(addressIn(directory, name));
  Fd socket = TRY(openSocket(SOCK_SEQPACKET));
  const auto* plain = reinterpret_cast<const struct sockaddr*>(&address);
  TRY(sys::check(
      "bind", [&] { return bind(socket.get(), plain, sizeof address); }, name));
  TRY(sys::check(
      "listen", [&] { return listen(socket.get(), 1); }, name));
  return socket;
}

Result<Fd> connectIn(int directory, const char* name) {
  return connectTo(SOCK_SEQPACKET, TRY(addressIn(directory, name)), name);
}

Result<Fd> connectStream(const char* path) {
  char whole[4096];
  if (strlen(path) >= sizeof whole) return failure("connect", ENAMETOOLONG, path);
  strcpy(whole, path);
  char* slash = strrchr(whole, '/');
  const char* name = slash == nullptr ? whole : slash + 1;
  if (slash != nullptr) *slash = '\0';
  const char* parent = slash == nullptr ? "." : (slash == whole ? "/" : whole);
  Fd directory = TRY(sys::openAt(AT_FDCWD, parent, O_PATH | O_DIRECTORY));
  return connectTo(SOCK_STREAM, TRY(addressIn(directory.get(), name)), path);
}

}  // namespace bulkhead::oci
