// File systems that the kernel makes: they must be created inside the namespaces whose contents they show.
#pragma once

#include "plan/plan.h"
#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::init {

/** A detached mount for any kind but bind and dev. */
Result<Fd> makePseudo(const plan::Mount& mount, const plan::Container& container);
/** Mounts the v1 hierarchies inside an attached cgroup mount; nothing to do on a host with cgroup v2 only. */
Status fillCgroup(int area, const plan::Mount& mount, const plan::Container& container);

}  // namespace bulkhead::init
