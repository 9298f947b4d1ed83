#include "init/pseudo.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace bulkhead::init {
namespace {

Result<Fd> makeFilesystem(const char* type, const Span<plan::MountOption>& options, uint64_t attributes) {
  Fd context = TRY(sys::openFilesystem(type));
  for (const plan::MountOption& option : options) {
    Status set = option.value.empty() ? sys::configureFlag(context.get(), option.key.c_str())
                                      : sys::configureString(context.get(), option.key.c_str(), option.value.c_str());
    if (!set.ok()) return sys::explain(context.get(), set.error(), option.key.view());
  }
  Status created = sys::configureCreate(context.get());
  if (!created.ok()) return sys::explain(context.get(), created.error(), type);
  return sys::createMount(context.get(), static_cast<unsigned>(attributes));
}

/** One v1 hierarchy ("cpu,cpuacct") or the unified one, rooted at the cgroup namespace's own cgroup. */
Result<Fd> mountHierarchy(const plan::CgroupDirectory& directory, uint64_t attributes) {
  if ((directory.flags & plan::kCgroupUnified) != 0) return makeFilesystem("cgroup2", {}, attributes);
  Fd context = TRY(sys::openFilesystem("cgroup"));
  char list[128];
  if (directory.controllers.size >= sizeof list) return failure("fsopen", E2BIG, directory.controllers.view());
  memcpy(list, directory.controllers.data, directory.controllers.size + 1);
  char* save = nullptr;
  for (char* name = strtok_r(list, ",", &save); name != nullptr; name = strtok_r(nullptr, ",", &save)) {
    TRY(sys::configureFlag(context.get(), name));
  }
  TRY(sys::configureCreate(context.get()));
  return sys::createMount(context.get(), static_cast<unsigned>(attributes));
}

/** v1 and hybrid: one directory per hierarchy on a tmpfs, as programs expect to find them. */
Result<Fd> makeCgroup(const plan::Mount& mount, const plan::Container& container) {
  if (!hasHierarchies(container)) return makeHierarchy(container, container.cgroups[0], mount.attributesSet);
  plan::MountOption mode;
  mode.key = {"mode", 4};
  mode.value = {"0755", 4};
  Fd area = TRY(makeFilesystem("tmpfs", {&mode, 1}, mount.attributesSet & ~uint64_t{MOUNT_ATTR_RDONLY}));
  for (const plan::CgroupDirectory& directory : container.cgroups) {
    TRY(sys::makeDirectoryAt(area.get(), directory.controllers.c_str(), 0755));
  }
  return area;
}

}  // namespace

bool hasHierarchies(const plan::Container& container) {
  return container.cgroups.count != 1 || (container.cgroups[0].flags & plan::kCgroupUnified) == 0;
}

Result<Fd> makeHierarchy(const plan::Container& container, const plan::CgroupDirectory& directory,
                         uint64_t attributes) {
  const bool ownView = (container.namespaces & CLONE_NEWCGROUP) != 0;
  if (ownView) return mountHierarchy(directory, attributes);
  // A mount would show the hierarchy from the host's root, and be refused in a user namespace of its own.
  Fd tree = TRY(sys::openTree(AT_FDCWD, directory.path.c_str(), OPEN_TREE_CLONE));
  TRY(sys::setMountAttributes(tree.get(), "", AT_EMPTY_PATH, attributes, 0, MS_PRIVATE));
  return tree;
}

uint64_t lateAttributes(const plan::Mount& mount) {
  if (mount.kind != plan::MountKind::tmpfs) return 0;
  return (mount.attributesSet | mount.recursiveSet) & MOUNT_ATTR_RDONLY;
}

Result<Fd> makePseudo(const plan::Mount& mount, const plan::Container& container) {
  const uint64_t attributes = (mount.attributesSet | mount.recursiveSet) & ~lateAttributes(mount);
  switch (mount.kind) {
    case plan::MountKind::proc:
      return makeFilesystem("proc", mount.options, attributes);
    case plan::MountKind::sysfs:
      return makeFilesystem("sysfs", mount.options, attributes);
    case plan::MountKind::devpts:
      return makeFilesystem("devpts", mount.options, attributes);
    case plan::MountKind::mqueue:
      return makeFilesystem("mqueue", mount.options, attributes);
    case plan::MountKind::tmpfs:
      return makeFilesystem("tmpfs", mount.options, attributes);
    case plan::MountKind::cgroup:
      return makeCgroup(mount, container);
    case plan::MountKind::bind:
    case plan::MountKind::dev:
    case plan::MountKind::remount:
      break;
  }
  return failure("plan", EINVAL, mount.destination.view());
}

}  // namespace bulkhead::init
