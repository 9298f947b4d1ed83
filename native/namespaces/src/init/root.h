// Mounts that need the host's privileges; the shim makes them detached and hands them to the child.
#pragma once

#include <array>

#include "cgroup/directory.h"
#include "plan/plan.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::init {

class Area;

struct Owner {
  uid_t uid;
  gid_t gid;
};

/** The host ids that are root inside. */
Owner rootOwner(const plan::Container& container);

// fs/overlayfs: OVL_MAX_STACK
inline constexpr uint32_t kMaxLayers = 500;

/** Lower layers by descriptor: a detached mount dissolves with its last one. */
struct Layers {
  Fd fds[kMaxLayers];
};

/** The container's root, detached. `userNamespace` (or -1) is what lower layers are id-mapped with. */
Result<Fd> makeRoot(const plan::Container& container, int userNamespace, Layers* layers);
/** The overlay of `root` for kernels before 6.13, which take attached layers by path only; detached. */
Result<Fd> mountAttached(const plan::Root& root, int userNamespace);
/** The standard device nodes, links, and the plan's devices, detached; `area` becomes what they lie on, if it may. */
Result<Fd> makeDev(const plan::Container& container, const plan::Mount& mount, Area* area);
/** An empty directory that nobody can write to, to cover others with, detached; none where `area` has no room for it.
 */
Result<Fd> makeCover(const Area& area);
/** The mount itself, and where there is one directory per hierarchy, what goes on each; all detached. */
struct CgroupMounts {
  std::array<Fd, 1 + cgroup::Placement::kMax> fds;
  size_t count = 0;
};
Status makeCgroup(const plan::Container& container, const plan::Mount& mount, const Area& area, CgroupMounts* made);
/** True where a cgroup mount is a directory of v1 hierarchies; false on a host with cgroup v2 only. */
bool hasHierarchies(const plan::Container& container);
/** A bind source as a detached mount with its attributes set. */
Result<Fd> makeBind(const plan::Mount& mount, int userNamespace);

}  // namespace bulkhead::init
