// Kernel threads that work for an instance and lie in its cgroups.
#pragma once

#include <string>

#include "sys/result.h"

namespace bulkhead::cgroup {

/**
 * Puts kernel threads of a cgroup of the unified hierarchy among those of the host, in its root. None is ever frozen
 * (kernel/cgroup/freezer.c), and a cgroup that has one never says that it stands still. Until Linux 6.14 KVM has one in
 * the cgroups of each machine; it looks after large pages, once in minutes. What does not move is left where it is.
 */
Status expelKernelThreads(const std::string& directory);

}  // namespace bulkhead::cgroup
