// What a container sees of its cgroups: bind mounts of its own directories, so the host's tree must be there.
//
// In the container's own cgroup namespace they show what mounts of the file system would. But to mount a hierarchy of
// cgroup v1 the kernel takes cgroup_mutex and visits every cgroup of the unified one (cgroup_lock_and_drain_offline,
// kernel/cgroup/cgroup-v1.c), which makes each start dearer the more containers there are.
#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>

#include "init/root.h"

namespace bulkhead::init {
namespace {

Result<Fd> makeHierarchy(const plan::CgroupDirectory& directory, uint64_t attributes) {
  Fd tree = TRY(sys::openTree(AT_FDCWD, directory.path.c_str(), OPEN_TREE_CLONE));
  TRY(sys::setMountAttributes(tree.get(), "", AT_EMPTY_PATH, attributes, 0, MS_PRIVATE));
  return tree;
}

/** One empty directory per hierarchy on a tmpfs, as programs expect to find them on v1 and hybrid hosts. */
Result<Fd> makeArea(const plan::Container& container, uint64_t attributes) {
  const Owner owner = rootOwner(container);
  Fd context = TRY(sys::openFilesystem("tmpfs"));
  TRY(sys::configureString(context.get(), "mode", "0755"));
  TRY(configureOwner(context.get(), owner));
  TRY(sys::configureCreate(context.get()));
  Fd area = TRY(sys::createMount(context.get(), static_cast<unsigned>(attributes & ~uint64_t{MOUNT_ATTR_RDONLY})));
  for (const plan::CgroupDirectory& directory : container.cgroups) {
    TRY(sys::makeDirectoryAt(area.get(), directory.controllers.c_str(), 0755));
    if (owner.uid != 0 || owner.gid != 0)
      TRY(sys::changeOwner(area.get(), directory.controllers.c_str(), owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW));
  }
  if ((attributes & MOUNT_ATTR_RDONLY) == 0) return area;
  TRY(sys::setMountAttributes(area.get(), "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0));
  return area;
}

}  // namespace

bool hasHierarchies(const plan::Container& container) {
  return container.cgroups.count != 1 || (container.cgroups[0].flags & plan::kCgroupUnified) == 0;
}

Status makeCgroup(const plan::Container& container, const plan::Mount& mount, CgroupMounts* made) {
  const uint64_t attributes = mount.attributesSet | mount.recursiveSet;
  if (container.cgroups.count >= made->fds.size()) return failure("open_tree", E2BIG, mount.destination.view());
  made->count = 0;
  if (hasHierarchies(container)) made->fds[made->count++] = TRY(makeArea(container, attributes));
  for (const plan::CgroupDirectory& directory : container.cgroups) {
    made->fds[made->count++] = TRY(makeHierarchy(directory, attributes));
  }
  return Done{};
}

}  // namespace bulkhead::init
