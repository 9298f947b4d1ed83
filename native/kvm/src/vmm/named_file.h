// Files as the command line names them.
#pragma once

#include <string>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

/** Opens a path, or copies the descriptor that `fd:N` names: there is nothing else in a jail. */
Result<Fd> openNamed(const std::string& name, int flags);

/** A Unix socket of this type that is bound at `path` and takes connections. @returns EADDRINUSE when there is
 * something */
Result<Fd> listenAt(const std::string& path, int type);

/** A connection to the Unix socket of this type at `path`. */
Result<Fd> connectTo(const std::string& path, int type);

}  // namespace bulkhead::vm
