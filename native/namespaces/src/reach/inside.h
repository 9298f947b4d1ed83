// Joining a running container: its mount namespace, as the root of its own user namespace and with no more than that.
#pragma once

#include "sys/procfs.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::reach {

/**
 * The container's user namespace, or an invalid descriptor when it has none of its own. EPERM for a process in our own
 * mount namespace: a kernel thread that works for a machine is in its cgroup, and what is taken from it is the host's.
 */
Result<Fd> userNamespaceOf(const sys::ProcessRef& target);

/**
 * Enters the mount namespace, and the user namespace when it is given. From then on a path that the image has laid as
 * a trap can hurt nobody but the container. Answers its root directory.
 */
Result<Fd> enter(int process, int userNamespace);

}  // namespace bulkhead::reach
