// Mounts that need the host's privileges; the shim makes them detached and hands them to the child.
#pragma once

#include "plan/plan.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::init {

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
/** A tmpfs with the standard device nodes, links, and the plan's devices, detached. */
Result<Fd> makeDev(const plan::Container& container, const plan::Mount& mount);
/** A bind source as a detached mount with its attributes set. */
Result<Fd> makeBind(const plan::Mount& mount, int userNamespace);

}  // namespace bulkhead::init
