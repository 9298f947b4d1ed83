// Landlock: a process that may write in the places it was given and nowhere else, whatever it is inside.
#pragma once

#include "plan/plan.h"
#include "sys/result.h"

namespace bulkhead::init {

/**
 * From here on the caller and what it starts change files only below the plan's writable paths (and below /dev and
 * /proc, which have guards of their own), and make no mount. ENOSYS or EOPNOTSUPP where the kernel has no Landlock that
 * can do that. Needs no_new_privs, or CAP_SYS_ADMIN.
 */
Status confineWrites(const plan::Process& process);

}  // namespace bulkhead::init
