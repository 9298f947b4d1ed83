// Start of a container: the shim's side, from the plan to the loop.
#pragma once

#include "init/base.h"
#include "init/entry.h"

namespace bulkhead::init {

/**
 * Never returns an error to the caller: the report socket has it. The exit status is 0 once the container ended.
 * `handed`: what came with the plan for its program; the shim keeps none of it, and nothing of `base`.
 */
int runContainer(MappedPlan plan, HandedFds handed, Base base);
/** The same for a process added to a running container. */
int runExec(MappedPlan plan);

}  // namespace bulkhead::init
