#include "sys.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include <cstring>

namespace bulkhead::unpack {

Fd open_in_root(const Fd& root, const char* path, std::uint64_t flags) {
  open_how how{};
  how.flags = flags | O_CLOEXEC;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  for (;;) {
    const long number = ::syscall(SYS_openat2, root.get(), path, &how, sizeof how);
    // EAGAIN: a rename raced with the `..` check (openat2(2)); only our own renames can, so it settles.
    if (number >= 0 || (errno != EINTR && errno != EAGAIN)) return Fd(static_cast<int>(number));
  }
}

Fd open_leaf(const Fd& dir, const char* name, int flags, mode_t mode) {
  for (;;) {
    const int number = ::openat(dir.get(), name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
    if (number >= 0 || errno != EINTR) return Fd(number);
  }
}

bool stat_leaf(const Fd& dir, const char* name, struct stat& out) {
  return ::fstatat(dir.get(), name, &out, AT_SYMLINK_NOFOLLOW) == 0;
}

bool write_at(const Fd& file, const void* data, std::size_t size, std::int64_t offset) {
  const char* cursor = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t written = ::pwrite(file.get(), cursor, size, offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    cursor += written;
    offset += written;
    size -= static_cast<std::size_t>(written);
  }
  return true;
}

}  // namespace bulkhead::unpack
