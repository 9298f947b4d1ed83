// Which system calls a thread of the monitor needs once the machine is made.
#pragma once

#include <vector>

#include "jail/seccomp.h"
#include "machine/thread_kind.h"

namespace bulkhead::vm {

/** `sockets`: there is a device that accepts and makes connections of Unix sockets. */
std::vector<AllowedCall> allowedCalls(ThreadKind kind, bool sockets);

}  // namespace bulkhead::vm
