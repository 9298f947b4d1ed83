// bulkhead-init as a function: makes one container (or one process in it) from a plan, and stays as its shim.
#pragma once

#include <string_view>

namespace bulkhead::init {

/** The plan at kPlanFd, which is closed; empty when it is none or its sender could still change it. */
std::string_view mapPlan();

/** `argv`: "serve" (server.h), or "container" or "exec" for one of them at once, then "exact" when the caller left no
 * other descriptor open. The exit status. */
int runInit(int argc, char** argv);

}  // namespace bulkhead::init
