#include "sys/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "sys/fd.h"
#include "sys/retry.h"
#include "sys/syscalls.h"

namespace bulkhead::sys {
namespace {

// Below this a directory is first moved to the top of the tree: neither descriptors nor stack grow with depth.
constexpr int kDeepest = 32;

/** What a directory lists, as many entries at a time as there is room for. Without the C library's: it asks for more.
 */
class Listing {
 public:
  explicit Listing(int directory) : directory_(directory) {}

  /** The next entry that is not the directory itself or its parent; null at the end. */
  Result<const struct dirent64*> next() {
    for (;;) {
      if (at_ == size_) {
        const long size = retry([&] { return getdents64(directory_, bytes_, sizeof bytes_); });
        if (size < 0) return failure("getdents64", errno);
        if (size == 0) return nullptr;
        at_ = 0;
        size_ = static_cast<size_t>(size);
      }
      const auto* entry = reinterpret_cast<const struct dirent64*>(bytes_ + at_);
      at_ += entry->d_reclen;
      if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) return entry;
    }
  }

 private:
  int directory_;
  size_t at_ = 0;
  size_t size_ = 0;
  // The longest entry has 280 bytes; one for each level of the tree lies on the stack.
  alignas(struct dirent64) char bytes_[2048];
};

class Removal {
 public:
  explicit Removal(const std::atomic<bool>* cancelled, std::vector<std::string> kept = {})
      : cancelled_(cancelled), kept_(std::move(kept)) {}

  /** A directory with everything below it. */
  Status directory(int at, const char* name, int depth) {
    const Fd own = TRY(openAt(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (depth == 0) top_ = own.get();
    for (;;) {
      const bool found = TRY(children(own.get(), name, depth));
      Status removed = removeAt(at, name, AT_REMOVEDIR);
      // Again until a pass finds nothing: a listing may skip entries while others go.
      if (removed.ok() || removed.error().err != ENOTEMPTY || !found) return removed;
      if (lseek(own.get(), 0, SEEK_SET) < 0) return failure("lseek", errno, name);
    }
  }

  /** A directory as this process makes them, and those in it that are kept, of everything below them. */
  Status emptied(int at, const char* name, int depth) {
    const Fd own = TRY(openAt(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
    if (depth == 0) top_ = own.get();
    const struct stat status = TRY(statusOf(own.get()));
    if (status.st_uid != geteuid() || status.st_mode != (S_IFDIR | 0700)) return failure("fstat", EPERM, name);
    while (TRY(children(own.get(), name, depth))) {
      if (lseek(own.get(), 0, SEEK_SET) < 0) return failure("lseek", errno, name);
    }
    return Done{};
  }

 private:
  Status one(int at, const char* name, bool isDirectory, int depth) {
    if (!isDirectory) {
      Status removed = removeAt(at, name, 0);
      // Not every file system says in a listing what is a directory.
      if (removed.ok() || removed.error().err != EISDIR) return removed;
    }
    return depth <= kDeepest ? directory(at, name, depth) : flatten(at, name);
  }

  /** Removes what is listed; whether there was any. */
  Result<bool> children(int own, const char* name, int depth) {
    bool found = false;
    Listing entries(own);
    while (const struct dirent64* entry = TRY(entries.next())) {
      if (cancelled_->load(std::memory_order_relaxed)) return failure("removeTree", ECANCELED, name);
      if (depth == 0 && std::find(kept_.begin(), kept_.end(), entry->d_name) != kept_.end()) {
        TRY(emptied(own, entry->d_name, 1));
        continue;
      }
      found = true;
      TRY(one(own, entry->d_name, entry->d_type == DT_DIR, depth + 1));
    }
    return found;
  }

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
  /** names of directories at the top that stay */
  const std::vector<std::string> kept_;
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

Status emptyTree(const char* path, const std::vector<std::string>& kept, const std::atomic<bool>* cancelled) {
  Removal removal(cancelled, kept);
  return removal.emptied(AT_FDCWD, path, 0);
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
