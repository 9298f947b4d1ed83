// What the process is to security modules and to the kernel's key store.
#pragma once

#include "plan/plan.h"
#include "sys/result.h"

namespace bulkhead::init {

/** Labels that the next execve takes on; ENOTSUP where the kernel has no such module. */
Status setLabels(const plan::Process& process);
/** A session keyring of its own instead of the starter's. */
Status joinKeyring(const plan::Process& process);

}  // namespace bulkhead::init
