#include "init/copy_up.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "sys/syscalls.h"

namespace bulkhead::init {
namespace {

constexpr int kDirectory = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
// The image is hostile, and each level keeps two descriptors open.
constexpr int kMaxDepth = 64;

Status copyTree(int from, int to, int depth);

Status copyContent(int from, int to, const char* name) {
  for (;;) {
    const ssize_t count = sendfile(to, from, nullptr, 1 << 20);
    if (count == 0) return Done{};
    if (count < 0 && errno != EINTR) return failure("sendfile", errno, name);
  }
}

Status copyEntry(int from, int to, const char* name, int depth) {
  const struct stat status = TRY(sys::statusAt(from, name, AT_SYMLINK_NOFOLLOW));
  if (S_ISLNK(status.st_mode)) {
    char target[PATH_MAX];
    const ssize_t size = readlinkat(from, name, target, sizeof target - 1);
    if (size < 0) return failure("readlinkat", errno, name);
    target[size] = '\0';
    TRY(sys::symlinkAt(target, to, name));
    return sys::changeOwner(to, name, status.st_uid, status.st_gid, AT_SYMLINK_NOFOLLOW);
  }
  if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) return Done{};
  // The entry may have been exchanged since it was looked at: what is opened must still be of its kind.
  if (S_ISDIR(status.st_mode)) TRY(sys::makeDirectoryAt(to, name, 0700));
  Fd source = TRY(sys::openAt(from, name, S_ISDIR(status.st_mode) ? kDirectory : O_RDONLY | O_NOFOLLOW | O_NONBLOCK));
  Fd copy = TRY(S_ISDIR(status.st_mode) ? sys::openAt(to, name, kDirectory)
                                        : sys::openAt(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600));
  const struct stat opened = TRY(sys::statusOf(source.get()));
  if ((opened.st_mode & S_IFMT) != (status.st_mode & S_IFMT)) return failure("openat", EAGAIN, name);
  if (S_ISDIR(status.st_mode)) {
    TRY(copyTree(source.get(), copy.get(), depth + 1));
  } else {
    TRY(copyContent(source.get(), copy.get(), name));
  }
  TRY(sys::changeOwner(copy.get(), "", opened.st_uid, opened.st_gid, AT_EMPTY_PATH));
  // After the owner, whose change takes set-id bits away.
  if (fchmod(copy.get(), opened.st_mode & 07777) < 0) return failure("fchmod", errno, name);
  return Done{};
}

Status copyTree(int from, int to, int depth) {
  if (depth > kMaxDepth) return failure("tmpcopyup", ELOOP);
  Fd listed = TRY(sys::openAt(from, ".", kDirectory));
  alignas(struct dirent64) char buffer[4096];
  for (;;) {
    const ssize_t size = getdents64(listed.get(), buffer, sizeof buffer);
    if (size < 0) return failure("getdents64", errno);
    if (size == 0) return Done{};
    for (ssize_t at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const struct dirent64*>(buffer + at);
      at += entry->d_reclen;
      if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
      TRY(copyEntry(from, to, entry->d_name, depth));
    }
  }
}

}  // namespace

Status copyUp(int from, int to) {
  Fd source = TRY(sys::openAt(from, ".", kDirectory));
  Fd target = TRY(sys::openAt(to, ".", kDirectory));
  return copyTree(source.get(), target.get(), 0);
}

Status inheritMode(int from, int to) {
  const struct stat status = TRY(sys::statusOf(from));
  Fd target = TRY(sys::openAt(to, ".", kDirectory));
  if (fchmod(target.get(), status.st_mode & 07777) < 0) return failure("fchmod", errno);
  return Done{};
}

}  // namespace bulkhead::init
