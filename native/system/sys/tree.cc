#include "sys/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "sys/fd.h"
#include "sys/syscalls.h"

namespace bulkhead::sys {
namespace {

// Below this a directory is first moved to the top of the tree: neither descriptors nor stack grow with depth.
constexpr int kDeepest = 32;

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

Result<Directory> listing(int at, const char* name) {
  Fd fd = TRY(openAt(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  DIR* directory = fdopendir(fd.get());
  if (directory == nullptr) return failure("fdopendir", errno, name);
  (void)fd.release();
  return Directory(directory);
}

class Removal {
 public:
  explicit Removal(const std::atomic<bool>* cancelled) : cancelled_(cancelled) {}

  /** A directory with everything below it. */
  Status directory(int at, const char* name, int depth) {
    {
      Directory entries = TRY(listing(at, name));
      if (depth == 0) top_ = dirfd(entries.get());
      // Again until a pass finds nothing: readdir may skip entries while others go.
      for (bool found = true; found;) {
        found = false;
        while (const struct dirent* entry = readdir(entries.get())) {
          if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
          if (cancelled_->load(std::memory_order_relaxed)) return failure("removeTree", ECANCELED, name);
          found = true;
          TRY(one(dirfd(entries.get()), entry->d_name, entry->d_type == DT_DIR, depth + 1));
        }
        rewinddir(entries.get());
      }
    }
    return removeAt(at, name, AT_REMOVEDIR);
  }

  Status one(int at, const char* name, bool isDirectory, int depth) {
    if (!isDirectory) {
      Status removed = removeAt(at, name, 0);
      // Not every file system says in a listing what is a directory.
      if (removed.ok() || removed.error().err != EISDIR) return removed;
    }
    return depth <= kDeepest ? directory(at, name, depth) : flatten(at, name);
  }

 private:
  Status flatten(int at, const char* name) {
    for (;;) {
      char moved[32];
      snprintf(moved, sizeof moved, ".deep-%llu", static_cast<unsigned long long>(serial_++));
      // Not onto an empty directory of that name: the rename would succeed and remove it uncounted.
      if (renameat2(at, name, top_, moved, RENAME_NOREPLACE) == 0) return Done{};
      if (errno != EEXIST) return failure("renameat2", errno, name);
    }
  }

  const std::atomic<bool>* cancelled_;
  int top_ = -1;
  uint64_t serial_ = 0;
};

}  // namespace

Status removeTree(const char* path, const std::atomic<bool>* cancelled) {
  Status removed = removeAt(AT_FDCWD, path, 0);
  if (removed.ok() || removed.error().err == ENOENT) return Done{};
  if (removed.error().err != EISDIR) return removed;
  Removal removal(cancelled);
  return removal.directory(AT_FDCWD, path, 0);
}

Status spreadChildren(const char* path) {
  const Fd directory = TRY(openAt(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  int flags = 0;
  if (ioctl(directory.get(), FS_IOC_GETFLAGS, &flags) < 0) {
    return errno == ENOTTY || errno == EOPNOTSUPP ? Status(Done{}) : failure("ioctl FS_IOC_GETFLAGS", errno, path);
  }
  if ((flags & FS_TOPDIR_FL) != 0) return Done{};
  flags |= FS_TOPDIR_FL;
  if (ioctl(directory.get(), FS_IOC_SETFLAGS, &flags) < 0) {
    return errno == ENOTTY || errno == EOPNOTSUPP ? Status(Done{}) : failure("ioctl FS_IOC_SETFLAGS", errno, path);
  }
  return Done{};
}

}  // namespace bulkhead::sys
