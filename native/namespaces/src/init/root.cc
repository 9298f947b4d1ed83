#include "init/root.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>

#include "sys/retry.h"

namespace bulkhead::init {
namespace {

constexpr const char* kLayerRefused = "fsconfig lowerdir+";
constexpr unsigned kCloneHere = OPEN_TREE_CLONE | AT_EMPTY_PATH;

/** `path` as a directory of the mapped root; made when it is missing, its parent must exist. */
Result<Fd> ownedDirectory(const Str& path, Owner owner) {
  Status made = sys::makeDirectoryAt(AT_FDCWD, path.c_str(), 0755);
  if (!made.ok() && made.error().err != EEXIST) return made.error();
  Fd fd = TRY(sys::openAt(AT_FDCWD, path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
  const struct stat status = TRY(sys::statusOf(fd.get()));
  if (status.st_uid != owner.uid || status.st_gid != owner.gid) {
    TRY(sys::changeOwner(fd.get(), "", owner.uid, owner.gid, AT_EMPTY_PATH));
  }
  return fd;
}

/** A lower layer: the directory itself, or a detached mount of it that is seen with the container's ids. */
Result<Fd> openLayer(const Str& path, int userNamespace) {
  if (userNamespace < 0) return sys::openAt(AT_FDCWD, path.c_str(), O_PATH | O_DIRECTORY);
  Fd tree = TRY(sys::openTree(AT_FDCWD, path.c_str(), OPEN_TREE_CLONE));
  Status mapped =
      sys::setMountAttributes(tree.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_IDMAP, 0, MS_PRIVATE, userNamespace);
  if (!mapped.ok()) return failure(mapped.error().op, mapped.error().err, path.view());
  return tree;
}

Status addLayersByDescriptor(int context, const plan::Root& root, int userNamespace, Layers* layers) {
  if (root.layers.count > kMaxLayers) return failure("fsconfig", E2BIG, "lowerdir+");
  for (uint32_t index = 0; index < root.layers.count; ++index) {
    const Str& path = root.layers[index];
    Fd& layer = layers->fds[index];
    layer = TRY(openLayer(path, userNamespace));
    Status added = sys::configureDescriptor(context, "lowerdir+", layer.get());
    if (!added.ok()) return failure(kLayerRefused, added.error().err, path.view());
  }
  return Done{};
}

Result<Fd> mountByDescriptor(const plan::Root& root, int userNamespace, Layers* layers) {
  Fd context = TRY(sys::openFilesystem("overlay"));
  TRY(addLayersByDescriptor(context.get(), root, userNamespace, layers));
  TRY(sys::configureString(context.get(), "upperdir", root.upper.c_str()));
  TRY(sys::configureString(context.get(), "workdir", root.work.c_str()));
  // Layers are hostile: a redirect in one must not pull in what another hides.
  TRY(sys::configureString(context.get(), "redirect_dir", "nofollow"));
  TRY(sys::configureString(context.get(), "metacopy", "off"));
  Status created = sys::configureCreate(context.get());
  if (!created.ok()) return sys::explain(context.get(), created.error(), "overlay");
  return sys::createMount(context.get(), MOUNT_ATTR_NODEV);
}

Result<Fd> mountOverlay(const plan::Container& container, int userNamespace, Owner owner, Layers* layers) {
  const plan::Root& root = container.root;
  Fd upper = TRY(ownedDirectory(root.upper, owner));
  Fd work = TRY(ownedDirectory(root.work, owner));
  const bool attach = (container.flags & plan::kPlanAttachLayers) != 0;
  Result<Fd> mount = attach ? mountAttached(root, userNamespace) : mountByDescriptor(root, userNamespace, layers);
  // "lowerdir+" by descriptor exists since Linux 6.13; before 6.5 overlay takes no descriptor at all (EOPNOTSUPP).
  const bool unknown = !mount.ok() && (mount.error().err == EINVAL || mount.error().err == EOPNOTSUPP) &&
                       mount.error().op == kLayerRefused;
  if (unknown) mount = mountAttached(root, userNamespace);
  if (!mount.ok()) return mount.error();
  struct statfs status;
  TRY(sys::check(
      "fstatfs", [&] { return fstatfs(mount.value().get(), &status); }, root.upper.view()));
  // Overlay turns itself read-only when it cannot use its work directory, and says so only in the kernel's log.
  if ((status.f_flags & ST_RDONLY) != 0) return failure("fsmount", EROFS, root.upper.view());
  return mount;
}

}  // namespace

Owner rootOwner(const plan::Container& container) {
  const auto lookup = [](const Span<plan::IdMap>& maps) -> uint32_t {
    for (const plan::IdMap& map : maps) {
      if (map.inside == 0) return map.outside;
    }
    return 0;
  };
  return {lookup(container.uidMap), lookup(container.gidMap)};
}

Result<Fd> makeRoot(const plan::Container& container, int userNamespace, Layers* layers) {
  const plan::Root& root = container.root;
  if (root.layers.empty()) return failure("plan", EINVAL, "rootfs");
  Fd mount;
  if (root.kind == plan::RootKind::overlay) {
    mount = TRY(mountOverlay(container, userNamespace, rootOwner(container), layers));
  } else {
    Fd directory = TRY(sys::openAt(AT_FDCWD, root.layers[0].c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW));
    mount = TRY(sys::openTree(directory.get(), "", kCloneHere));
    // rslave and its like: what the host mounts below the root later shows up inside; nothing goes the other way.
    const uint64_t tie = (root.propagation & MS_SLAVE) != 0 ? MS_SLAVE : MS_PRIVATE;
    TRY(sys::setMountAttributes(mount.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_NODEV, 0, tie));
  }
  return mount;
}

}  // namespace bulkhead::init
