// Which system calls a thread of the monitor needs once the machine is made.
#pragma once

#include <vector>

#include "jail/seccomp.h"
#include "machine/thread_kind.h"

namespace bulkhead::vm {

std::vector<AllowedCall> allowedCalls(ThreadKind kind, Sockets sockets);

}  // namespace bulkhead::vm
