// One wrapper per system call: retries EINTR where a retry is right, sets close-on-exec, returns a Result.
#pragma once

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string_view>

#include "sys/fd.h"
#include "sys/kernel.h"
#include "sys/result.h"
#include "sys/span.h"

namespace bulkhead::sys {

// Files. `at` is a directory descriptor or AT_FDCWD; descriptors are always close-on-exec.
Result<Fd> openAt(int at, const char* path, int flags, mode_t mode = 0);
/** openat2 with RESOLVE_* flags; retried while the kernel reports a racing rename (EAGAIN), at most 64 times. */
Result<Fd> openAt2(int at, const char* path, int flags, uint64_t resolve, mode_t mode = 0);
Status makeDirectoryAt(int at, const char* path, mode_t mode);
Status makeNodeAt(int at, const char* path, mode_t mode, dev_t device);
Status symlinkAt(const char* target, int at, const char* path);
Status removeAt(int at, const char* path, int flags);
Status renameAt(int at, const char* from, const char* to);
Status changeOwner(int fd, const char* path, uid_t uid, gid_t gid, int flags);
Status changeMode(int at, const char* path, mode_t mode);
Result<struct stat> statusOf(int fd);
Result<struct stat> statusAt(int at, const char* path, int flags);
Result<long> filesystemType(int fd);
/** Whether it lies on a file system that shows the kernel itself: proc, sysfs, cgroups. */
Result<bool> showsKernel(int fd);
Status writeAll(int fd, const void* data, size_t size);
Result<size_t> readSome(int fd, void* data, size_t size);
Result<Fd> memoryFile(const char* name, unsigned flags);
Result<Fd> duplicate(int fd, int atLeast);
/** From here on this process may have as many descriptors as its hard limit says. */
Status raiseOpenFiles();

// Mounts (new mount API; see Documentation/filesystems/mount_api.rst).
Result<Fd> openFilesystem(const char* type);
Status configureString(int context, const char* key, const char* value);
Status configureFlag(int context, const char* key);
Status configureDescriptor(int context, const char* key, int fd);
Status configureCreate(int context);
/** The kernel's own words for the last failure of a context, as the error's path. */
Error explain(int context, Error error, std::string_view what);
Result<Fd> createMount(int context, unsigned attributes);
Result<Fd> openTree(int at, const char* path, unsigned flags);
/** Puts a detached mount on the place that `target` refers to (an O_PATH descriptor). */
Status moveMount(int mount, int target);
Status setMountAttributes(int at, const char* path, unsigned flags, uint64_t set, uint64_t clear,
                          uint64_t propagation = 0, int userNamespace = -1);
Status pivotRootHere();

// Processes.
struct Cloned {
  pid_t pid;
  Fd pidfd;
};
/** clone3 without a new stack (a fork): pid 0 in the child. `cgroup` below 0 means the caller's own. */
Result<Cloned> cloneProcess(uint64_t flags, int cgroup);
Result<Fd> openPid(pid_t pid);
Status signalPid(int pidfd, int signal);
struct Ended {
  int code;
  int status;
};
/** Reaps a child by pidfd; `block` waits for it. Not ended yet: error EAGAIN. */
Result<Ended> reap(int pidfd, bool block);
Status enterNamespace(int fd, int type);
Status unshareNamespaces(int flags);
/** The caller's root and working directory become the directory `fd`. */
Status changeRoot(int fd);
/** Closes every descriptor above 2 except those in `kept` (numbers below 3 and -1 are ignored). */
Status closeAllBut(const int* kept, size_t count);
Status closeFrom(unsigned first, unsigned last, unsigned flags);
Status processControl(const char* name, int option, unsigned long a = 0, unsigned long b = 0);
Status setLimit(pid_t pid, int resource, const struct rlimit& limit);

// Messages between the shim, its child and the caller: SOCK_SEQPACKET pairs.
struct Pair {
  Fd left;
  Fd right;
};
Result<Pair> socketPair(int type);
Result<Pair> pipePair();
inline constexpr size_t kMaxPassed = 250;  // SCM_MAX_FD is 253
Status sendMessage(int socket, const void* data, size_t size, const int* fds = nullptr, size_t fdCount = 0);
struct Received {
  size_t size;
  size_t fdCount;
};
Result<Received> receiveMessage(int socket, void* data, size_t size, int* fds = nullptr, size_t fdCapacity = 0);

}  // namespace bulkhead::sys
