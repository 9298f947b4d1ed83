// bulkhead-init as a function: makes one container (or one process in it) from a plan, and stays as its shim.
#pragma once

namespace bulkhead::init {

/** `argv`: "container" or "exec", then "exact" when the caller left no other descriptor open. The exit status. */
int runInit(int argc, char** argv);

}  // namespace bulkhead::init
