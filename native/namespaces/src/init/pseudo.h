// File systems that the kernel makes: they must be created inside the namespaces whose contents they show.
#pragma once

#include "plan/plan.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::init {

/** Attributes that such a mount gets once it is in its place: a tmpfs takes over from there before it is read-only. */
uint64_t lateAttributes(const plan::Mount& mount);
/** A detached mount for any kind but bind and dev. */
Result<Fd> makePseudo(const plan::Mount& mount, const plan::Container& container);
/** True where a cgroup mount is a directory of v1 hierarchies; false on a host with cgroup v2 only. */
bool hasHierarchies(const plan::Container& container);
/** One v1 hierarchy ("cpu,cpuacct") or the unified one, detached and rooted at the container's own cgroup. */
Result<Fd> makeHierarchy(const plan::Container& container, const plan::CgroupDirectory& directory, uint64_t attributes);

}  // namespace bulkhead::init
