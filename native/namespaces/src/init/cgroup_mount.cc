// What a container sees of its cgroups: bind mounts of its own directories, so the host's tree must be there.
//
// In the container's own cgroup namespace they show what mounts of the file system would. But to mount a hierarchy of
// cgroup v1 the kernel takes cgroup_mutex and visits every cgroup of the unified one (cgroup_lock_and_drain_offline,
// kernel/cgroup/cgroup-v1.c), which makes each start dearer the more containers there are.
#include <fcntl.h>
#include <sys/mount.h>

#include <cerrno>

#include "init/area.h"
#include "init/root.h"

namespace bulkhead::init {
namespace {

Result<Fd> makeHierarchy(const plan::CgroupDirectory& directory, uint64_t attributes) {
  Fd tree = TRY(sys::openTree(AT_FDCWD, directory.path.c_str(), OPEN_TREE_CLONE));
  TRY(sys::setMountAttributes(tree.get(), "", AT_EMPTY_PATH, attributes, MOUNT_ATTR__ATIME, MS_PRIVATE));
  return tree;
}

Result<Fd> makeRootDirectory(const Area& area, Owner owner) {
  if (area.valid()) {
    Result<Fd> part = area.part("cgroup", 0755, owner);
    if (part.ok()) return part;
  }
  plan::MountOption mode;
  mode.key = {"mode", 4};
  mode.value = {"0755", 4};
  return TRY(Area::make({&mode, 1}, owner)).release();
}

/** One empty directory per hierarchy, as programs expect to find them on v1 and hybrid hosts. */
Result<Fd> makePlaces(const plan::Container& container, const Area& area, uint64_t attributes) {
  const Owner owner = rootOwner(container);
  Fd places = TRY(makeRootDirectory(area, owner));
  for (const plan::CgroupDirectory& directory : container.cgroups) {
    const char* name = directory.controllers.c_str();
    TRY(sys::makeDirectoryAt(places.get(), name, 0755));
    if (owner.uid == 0 && owner.gid == 0) continue;
    TRY(sys::changeOwner(places.get(), name, owner.uid, owner.gid, AT_SYMLINK_NOFOLLOW));
  }
  TRY(sys::setMountAttributes(places.get(), "", AT_EMPTY_PATH, attributes, MOUNT_ATTR__ATIME));
  return places;
}

}  // namespace

bool hasHierarchies(const plan::Container& container) {
  return container.cgroups.count != 1 || (container.cgroups[0].flags & plan::kCgroupUnified) == 0;
}

Status makeCgroup(const plan::Container& container, const plan::Mount& mount, const Area& area, CgroupMounts* made) {
  const uint64_t attributes = mount.attributesSet | mount.recursiveSet;
  if (container.cgroups.count >= made->fds.size()) return failure("open_tree", E2BIG, mount.destination.view());
  made->count = 0;
  if (hasHierarchies(container)) made->fds[made->count++] = TRY(makePlaces(container, area, attributes));
  for (const plan::CgroupDirectory& directory : container.cgroups) {
    made->fds[made->count++] = TRY(makeHierarchy(directory, attributes));
  }
  return Done{};
}

}  // namespace bulkhead::init
