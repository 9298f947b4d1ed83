// Programs that run at one moment of a container's life, with its state on their standard input.
#pragma once

#include "plan/plan.h"
#include "sys/result.h"

namespace bulkhead::init {

struct HookStdio {
  /** A file with the state's JSON, read from its beginning by each hook; below 0 is /dev/null. */
  int state;
  /** Where output goes; below 0 is /dev/null. */
  int output;
};

/**
 * Runs hooks one after the other in the caller's namespaces and waits for each; one that fails, or that takes longer
 * than its timeout (ETIME) and is killed, ends it. The error's path is the hook's, and "hook" its call.
 */
Status runHooks(const Span<plan::Hook>& hooks, const HookStdio& stdio);

}  // namespace bulkhead::init
