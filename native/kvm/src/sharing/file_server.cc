#include "sharing/file_server.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include "sys/fd.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::vm {
namespace {

/** The descriptor at which the server finds its socket: the first that is not one of its standard ones. */
constexpr int kSocket = 3;

Result<Fd> listenAt(const char* path) {
  struct sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (strlen(path) >= sizeof address.sun_path) return failure("bind", ENAMETOOLONG, path);
  memcpy(address.sun_path, path, strlen(path));
  Fd socket = TRY(sys::opened("socket", [] { return ::socket(AF_UNIX, SOCK_STREAM, 0); }));
  TRY(sys::check(
      "bind", [&] { return bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address); }, path));
  TRY(sys::check(
      "listen", [&] { return listen(socket.get(), 1); }, path));
  return socket;
}

/** Answers only when it could not become the server. */
Status become(const char* program, const char* directory, int socket) {
  // The machine's own descriptors, its network card's among them, are none of the server's.
  if (socket != kSocket) {
    TRY(sys::check("dup2", [&] { return dup2(socket, kSocket); }));
  }
  TRY(sys::closeFrom(kSocket + 1, ~0u, 0));
  // One for every file that the guest knows of.
  TRY(sys::raiseOpenFiles());
  // What it says is about its connection's end, or what the guest made it say; the log is the instance's program's.
  const Fd nowhere = TRY(sys::openAt(AT_FDCWD, "/dev/null", O_RDWR));
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    TRY(sys::check("dup2", [&] { return dup2(nowhere.get(), stream); }));
  }
  const std::string source = std::string("source=") + directory;
  const std::string number = "--fd=" + std::to_string(kSocket);
  const char* const arguments[] = {program, number.c_str(), "--rlimit-nofile=0", "-f",
                                   // Nothing is kept: what one user wrote, the next reads.
                                   "-o", "cache=none", "-o", "announce_submounts", "-o", "sandbox=chroot",
                                   // Devices and file capabilities are nothing that a share is for.
                                   "-o", "modcaps=-mknod:-setfcap", "-o", "log_level=err", "-o", source.c_str(),
                                   nullptr};
  return sys::check(
      "exec", [&] { return execv(program, const_cast<char* const*>(arguments)); }, program);
}

}  // namespace

Status startFileServer(const char* program, const Served& served) {
  const Fd socket = TRY(listenAt(served.socket));
  const pid_t child = fork();
  if (child < 0) return failure("fork", errno);
  if (child > 0) return Done{};
  const Status failed = become(program, served.directory, socket.get());
  fprintf(stderr, "bulkhead-sharing: %s %s: %s\n", failed.error().op, failed.error().path.c_str(),
          strerror(failed.error().err));
  _exit(1);
}

}  // namespace bulkhead::vm
