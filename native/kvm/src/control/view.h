// Every channel between a machine and its host, and how much each was used.
#pragma once

#include <string>

#include "jail/seccomp.h"
#include "machine/machine.h"

namespace bulkhead::vm {

/** One JSON object: exits to this process, devices with their registers and queues, ports, and `calls` as it is. */
std::string viewOf(Machine* machine, const std::string& calls);

/** Names of a list's system calls, each once, as a JSON array. */
std::string namesOf(Span<const AllowedCall> calls);

}  // namespace bulkhead::vm
