// Masked and read-only paths of the kernel's file systems.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cerrno>

#include "init/area.h"
#include "init/child.h"

namespace bulkhead::init {
namespace {

constexpr uint64_t kInside = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
constexpr unsigned kCloneHere = OPEN_TREE_CLONE | AT_EMPTY_PATH;

/** One empty, unwritable tmpfs covers every masked directory, where the shim could make no cover. */
Result<Fd> makeEmpty() {
  // One inode for the root; some kernels count one more.
  for (const char* inodes : {"1", "2"}) {
    Fd context = TRY(sys::openFilesystem("tmpfs"));
    TRY(sys::configureString(context.get(), "nr_blocks", "1"));
    TRY(sys::configureString(context.get(), "nr_inodes", inodes));
    TRY(sys::configureString(context.get(), "mode", "0555"));
    Status created = sys::configureCreate(context.get());
    if (created.ok()) return sys::createMount(context.get(), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV);
    if (created.error().err != ENOSPC) return created.error();
  }
  return failure("fsconfig", ENOSPC, "tmpfs");
}

class Masks {
 public:
  Masks(int root, Fd empty) : root_(root), empty_(std::move(empty)) {}

  Status coverDirectory(const Fd& place) {
    if (empty_.valid()) return coverWithCopy(empty_, place);
    // Attached first and copied from there: kernels before 6.15 copy no detached mount.
    empty_ = TRY(makeEmpty());
    return sys::moveMount(empty_.get(), place.get());
  }

  Status coverFile(const Fd& place) {
    if (!null_.valid()) {
      Fd null = TRY(sys::openAt2(root_, "dev/null", O_PATH, kInside | RESOLVE_NO_SYMLINKS));
      const struct stat status = TRY(sys::statusOf(null.get()));
      // Anything but the real device would be bound over the file instead (CVE-2025-31133).
      if (!S_ISCHR(status.st_mode) || status.st_rdev != makedev(1, 3)) return failure("fstatat", ENODEV, "/dev/null");
      null_ = std::move(null);
    }
    return coverWithCopy(null_, place);
  }

 private:
  static Status coverWithCopy(const Fd& mount, const Fd& place) {
    Fd copy = TRY(sys::openTree(mount.get(), "", kCloneHere));
    return sys::moveMount(copy.get(), place.get());
  }

  int root_;
  Fd empty_;
  Fd null_;
};

Status coverPath(int root, Masks* masks, const Str& path) {
  Result<Fd> place = sys::openAt2(root, path.c_str(), O_PATH, kInside);
  if (!place.ok()) {
    if (place.error().err == ENOENT || place.error().err == ENOTDIR) return Done{};
    return place.error();
  }
  const struct stat status = TRY(sys::statusOf(place.value().get()));
  Status covered = S_ISDIR(status.st_mode) ? masks->coverDirectory(place.value()) : masks->coverFile(place.value());
  if (!covered.ok() && covered.error().op == std::string_view("move_mount")) {
    return failure("move_mount", covered.error().err, path.view());
  }
  return covered;
}

Status makeReadOnly(int root, const Str& path) {
  Result<Fd> place = sys::openAt2(root, path.c_str(), O_PATH, kInside);
  if (!place.ok()) {
    if (place.error().err == ENOENT || place.error().err == ENOTDIR) return Done{};
    return place.error();
  }
  Fd tree = TRY(sys::openTree(place.value().get(), "", kCloneHere | AT_RECURSIVE));
  TRY(sys::setMountAttributes(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, MOUNT_ATTR_RDONLY, 0));
  Status moved = sys::moveMount(tree.get(), place.value().get());
  if (!moved.ok()) return failure("move_mount", moved.error().err, path.view());
  return Done{};
}

}  // namespace

Result<Fd> makeCover(const Area& area) {
  // The host's root, so that nobody inside may write to it, also when it is made writable.
  Result<Fd> cover = area.part("cover", 0555, {0, 0});
  if (!cover.ok()) return Fd();
  TRY(sys::setMountAttributes(cover.value().get(), "", AT_EMPTY_PATH,
                              MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID, 0));
  return cover;
}

Status restrictPaths(const plan::Container& container, int root, Fd cover) {
  for (const Str& path : container.readOnlyPaths) TRY(makeReadOnly(root, path));
  Masks masks(root, std::move(cover));
  for (const Str& path : container.maskedPaths) TRY(coverPath(root, &masks, path));
  return Done{};
}

}  // namespace bulkhead::init
