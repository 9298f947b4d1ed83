#include "init/prepared.h"

#include <fcntl.h>
#include <sys/mount.h>

#include "init/pseudo.h"

namespace bulkhead::init {

Status PreparedMounts::makeOne(const plan::Container& container, uint32_t index, Steps& steps) {
  const plan::Mount& mount = container.mounts[index];
  FixedText<64> step("make /");
  step.append(mount.destination.view());
  TRY(steps.begin(step.view()));
  mounts_[index] = TRY(makePseudo(mount, container));
  return Done{};
}

Status PreparedMounts::make(const plan::Container& container, Steps& steps) {
  for (uint32_t index = 0; index < container.mounts.count && index < kMax; ++index) {
    const plan::MountKind kind = container.mounts[index].kind;
    if (kind == plan::MountKind::bind || kind == plan::MountKind::dev || kind == plan::MountKind::remount ||
        kind == plan::MountKind::cgroup) {
      continue;
    }
    TRY(makeOne(container, index, steps));
  }
  return Done{};
}

Status PreparedMounts::makeCgroups(const plan::Container& container, Steps& steps) {
  for (uint32_t index = 0; index < container.mounts.count && index < kMax; ++index) {
    const plan::Mount& mount = container.mounts[index];
    if (mount.kind != plan::MountKind::cgroup) continue;
    TRY(makeOne(container, index, steps));
    if (!hasHierarchies(container)) continue;
    for (uint32_t at = 0; at < container.cgroups.count && at < hierarchies_.size(); ++at) {
      if (!hierarchies_[at].valid())
        hierarchies_[at] = TRY(makeHierarchy(container, container.cgroups[at], mount.attributesSet));
    }
  }
  return Done{};
}

Result<Fd> PreparedMounts::take(const plan::Container& container, uint32_t index) {
  if (index < kMax && mounts_[index].valid()) return std::move(mounts_[index]);
  return makePseudo(container.mounts[index], container);
}

Status PreparedMounts::fillCgroup(int area, const plan::Mount& mount, const plan::Container& container) {
  if (!hasHierarchies(container)) return Done{};
  for (uint32_t at = 0; at < container.cgroups.count && at < hierarchies_.size(); ++at) {
    const plan::CgroupDirectory& directory = container.cgroups[at];
    Fd hierarchy = std::move(hierarchies_[at]);
    if (!hierarchy.valid()) hierarchy = TRY(makeHierarchy(container, directory, mount.attributesSet));
    Fd place = TRY(sys::openAt(area, directory.controllers.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW));
    TRY(sys::moveMount(hierarchy.get(), place.get()));
  }
  if ((mount.attributesSet & MOUNT_ATTR_RDONLY) == 0) return Done{};
  return sys::setMountAttributes(area, "", AT_EMPTY_PATH, MOUNT_ATTR_RDONLY, 0);
}

}  // namespace bulkhead::init
