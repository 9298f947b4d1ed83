// Bind mounts, made on the host's side by descriptor.
#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "init/maps.h"
#include "init/root.h"

namespace bulkhead::init {
namespace {

constexpr unsigned kCloneHere = OPEN_TREE_CLONE | AT_EMPTY_PATH;
// fs/proc: PROC_ROOT_INO
constexpr ino_t kProcRoot = 1;

Result<Fd> openSource(const plan::Mount& mount) {
  if ((mount.flags & plan::kMountConfined) == 0) {
    return sys::openAt2(AT_FDCWD, mount.source.c_str(), O_PATH, RESOLVE_NO_MAGICLINKS);
  }
  Fd root = TRY(sys::openAt(AT_FDCWD, mount.beneath.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW));
  return sys::openAt2(root.get(), mount.source.c_str(), O_PATH, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

/** Masks and read-only paths below /proc and /sys protect nothing when something else lies there. */
Status checkKind(const plan::Mount& mount, int source) {
  if ((mount.flags & (plan::kMountIsProc | plan::kMountIsSysfs)) == 0) return Done{};
  const long type = TRY(sys::filesystemType(source));
  const struct stat status = TRY(sys::statusOf(source));
  const bool right = (mount.flags & plan::kMountIsProc) != 0 ? type == kernel::kProcMagic && status.st_ino == kProcRoot
                                                             : type == kernel::kSysfsMagic;
  if (!right) return failure("fstatfs", EINVAL, mount.source.view());
  return Done{};
}

Status mapIds(const plan::Mount& mount, int tree, int userNamespace) {
  if ((mount.flags & plan::kMountIdMapped) == 0) return Done{};
  Fd own;
  if (!mount.uidMap.empty()) own = TRY(makeUserNamespace(mount.uidMap, mount.gidMap));
  const int mapped = own.valid() ? own.get() : userNamespace;
  if (mapped < 0) return failure("mount_setattr", EINVAL, "an id-mapped mount needs id mappings");
  const unsigned deep = (mount.flags & plan::kMountRecursiveIds) != 0 ? AT_RECURSIVE : 0u;
  return sys::setMountAttributes(tree, "", AT_EMPTY_PATH | deep, MOUNT_ATTR_IDMAP, 0, 0, mapped);
}

}  // namespace

Result<Fd> makeBind(const plan::Mount& mount, int userNamespace) {
  Fd source = TRY(openSource(mount));
  TRY(checkKind(mount, source.get()));
  const unsigned all = (mount.flags & plan::kMountRecursive) != 0 ? AT_RECURSIVE : 0u;
  Result<Fd> cloned = sys::openTree(source.get(), "", kCloneHere | all);
  if (!cloned.ok()) return failure("open_tree", cloned.error().err, mount.source.view());
  Fd tree = cloned.take();
  // A copy starts in its source's peer group; only who asks for it stays in touch with the host.
  const uint64_t kind = mount.propagation & ~uint64_t{MS_REC};
  const bool asked = kind != 0 && kind != MS_PRIVATE;
  const bool deep = (mount.propagation & MS_REC) != 0;
  if (!asked || !deep) TRY(sys::setMountAttributes(tree.get(), "", AT_EMPTY_PATH | all, 0, 0, MS_PRIVATE));
  if (asked && kind == MS_SLAVE && !deep) {
    // Private first would have cut the very tie that is wanted, so the mount itself is copied anew.
    tree = TRY(sys::openTree(source.get(), "", kCloneHere | all));
  }
  if (asked) TRY(sys::setMountAttributes(tree.get(), "", AT_EMPTY_PATH | (deep ? all : 0u), 0, 0, kind));
  TRY(mapIds(mount, tree.get(), userNamespace));
  if ((mount.recursiveSet | mount.recursiveClear) != 0) {
    TRY(sys::setMountAttributes(tree.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, mount.recursiveSet,
                                mount.recursiveClear));
  }
  if ((mount.attributesSet | mount.attributesClear) != 0) {
    TRY(sys::setMountAttributes(tree.get(), "", AT_EMPTY_PATH, mount.attributesSet, mount.attributesClear));
  }
  return tree;
}

}  // namespace bulkhead::init
