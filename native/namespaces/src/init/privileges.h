// What a shim gives back once its process runs.
#pragma once

namespace bulkhead::init {

/** Keeps CAP_KILL alone: the rest of a shim's life is one signal and files that are open or owned by root. */
void dropPrivileges();

/** Returns the stack pages that the set-up dirtied; they would stay for the whole life of the shim. */
void trimStack();

}  // namespace bulkhead::init
