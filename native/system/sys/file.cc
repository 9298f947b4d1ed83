// Files and messages half of syscalls.h.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "sys/kernel.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::sys {

Result<Fd> openAt(int at, const char* path, int flags, mode_t mode) {
  return opened(
      "openat", [&] { return openat(at, path, flags | O_CLOEXEC, mode); }, path);
}

Result<Fd> openAt2(int at, const char* path, int flags, uint64_t resolve, mode_t mode) {
  struct open_how how = {};
  how.flags = static_cast<uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = resolve;
  long fd = -1;
  for (int attempt = 0; attempt < 64; ++attempt) {
    fd = retry([&] { return syscall(SYS_openat2, at, path, &how, sizeof how); });
    if (fd >= 0 || errno != EAGAIN) break;
  }
  if (fd < 0) return failure("openat2", errno, path);
  return Fd(static_cast<int>(fd));
}

Status makeDirectoryAt(int at, const char* path, mode_t mode) {
  return check(
      "mkdirat", [&] { return mkdirat(at, path, mode); }, path);
}

Status makeNodeAt(int at, const char* path, mode_t mode, dev_t device) {
  return check(
      "mknodat", [&] { return mknodat(at, path, mode, device); }, path);
}

Status symlinkAt(const char* target, int at, const char* path) {
  return check(
      "symlinkat", [&] { return symlinkat(target, at, path); }, path);
}

Status removeAt(int at, const char* path, int flags) {
  return check(
      "unlinkat", [&] { return unlinkat(at, path, flags); }, path);
}

Status renameAt(int at, const char* from, const char* to) {
  return check(
      "renameat", [&] { return renameat(at, from, at, to); }, from);
}

Status changeOwner(int fd, const char* path, uid_t uid, gid_t gid, int flags) {
  return check(
      "fchownat", [&] { return fchownat(fd, path, uid, gid, flags); }, path);
}

Status changeMode(int at, const char* path, mode_t mode) {
  return check(
      "fchmodat", [&] { return fchmodat(at, path, mode, 0); }, path);
}

Result<struct stat> statusOf(int fd) {
  return statusAt(fd, "", AT_EMPTY_PATH);
}

Result<struct stat> statusAt(int at, const char* path, int flags) {
  struct stat status;
  TRY(check(
      "fstatat", [&] { return fstatat(at, path, &status, flags); }, path));
  return status;
}

Result<long> filesystemType(int fd) {
  struct statfs status;
  TRY(check("fstatfs", [&] { return fstatfs(fd, &status); }));
  return static_cast<long>(status.f_type);
}

Result<bool> showsKernel(int fd) {
  const long type = TRY(filesystemType(fd));
  return type == kernel::kProcMagic || type == kernel::kSysfsMagic || type == kernel::kCgroupMagic ||
         type == kernel::kCgroup2Magic;
}

Status writeAll(int fd, const void* data, size_t size) {
  const char* bytes = static_cast<const char*>(data);
  while (size > 0) {
    const long written = retry([&] { return write(fd, bytes, size); });
    if (written < 0) return failure("write", errno);
    bytes += written;
    size -= static_cast<size_t>(written);
  }
  return Done{};
}

Result<size_t> readSome(int fd, void* data, size_t size) {
  const long count = retry([&] { return read(fd, data, size); });
  if (count < 0) return failure("read", errno);
  return static_cast<size_t>(count);
}

Result<Fd> memoryFile(const char* name, unsigned flags) {
  return opened(
      "memfd_create", [&] { return memfd_create(name, flags | MFD_CLOEXEC); }, name);
}

Status raiseOpenFiles() {
  struct rlimit limit;
  TRY(check("getrlimit", [&] { return getrlimit(RLIMIT_NOFILE, &limit); }));
  limit.rlim_cur = limit.rlim_max;
  return check("setrlimit", [&] { return setrlimit(RLIMIT_NOFILE, &limit); });
}

Result<Fd> duplicate(int fd, int atLeast) {
  return opened("fcntl F_DUPFD_CLOEXEC", [&] { return fcntl(fd, F_DUPFD_CLOEXEC, atLeast); });
}

Result<Pair> socketPair(int type) {
  int fds[2];
  TRY(check("socketpair", [&] { return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds); }));
  return Pair{Fd(fds[0]), Fd(fds[1])};
}

Result<Pair> pipePair() {
  int fds[2];
  TRY(check("pipe2", [&] { return pipe2(fds, O_CLOEXEC); }));
  return Pair{Fd(fds[0]), Fd(fds[1])};
}

Status sendMessage(int socket, const void* data, size_t size, const int* fds, size_t fdCount) {
  struct iovec part = {const_cast<void*>(data), size};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxPassed)];
  if (fdCount > kMaxPassed) return failure("sendmsg", E2BIG);
  if (fdCount > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fdCount);
    struct cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fdCount);
    memcpy(CMSG_DATA(header), fds, sizeof(int) * fdCount);
  }
  return check("sendmsg", [&] { return sendmsg(socket, &message, MSG_NOSIGNAL); });
}

Result<Received> receiveMessage(int socket, void* data, size_t size, int* fds, size_t fdCapacity) {
  struct iovec part = {data, size};
  struct msghdr message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMaxPassed)];
  message.msg_control = control;
  message.msg_controllen = fds == nullptr ? 0 : sizeof control;
  long count = retry([&] { return recvmsg(socket, &message, MSG_CMSG_CLOEXEC); });
  // A peer that closed with our message unread: the error comes once, before what the peer had written.
  if (count < 0 && errno == ECONNRESET) {
    count = retry([&] { return recvmsg(socket, &message, MSG_CMSG_CLOEXEC); });
  }
  if (count < 0) return failure("recvmsg", errno);
  Received received = {static_cast<size_t>(count), 0};
  for (struct cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    const size_t passed = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t index = 0; index < passed; ++index) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + index * sizeof(int), sizeof fd);
      if (received.fdCount < fdCapacity) {
        fds[received.fdCount++] = fd;
      } else {
        close(fd);
      }
    }
  }
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    for (size_t index = 0; index < received.fdCount; ++index) close(fds[index]);
    return failure("recvmsg", EMSGSIZE);
  }
  return received;
}

}  // namespace bulkhead::sys
