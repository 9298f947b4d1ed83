// Files as the command line names them.
#pragma once

#include <string>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

/** Opens a path, or copies the descriptor that `fd:N` names: there is nothing else in a jail. */
Result<Fd> openNamed(const std::string& name, int flags);

}  // namespace bulkhead::vm
