// What a shim may still do once its process runs.
#pragma once

namespace bulkhead::init {

/** Keeps CAP_KILL alone: the rest of a shim's life is one signal and files that are open or owned by root. */
void dropPrivileges();

}  // namespace bulkhead::init
