// The controlling terminal of a process in a container, made by the container's own devpts.
#pragma once

#include "init/child.h"
#include "plan/plan.h"
#include "sys/result.h"

namespace bulkhead::init {

/**
 * A new session with a new terminal as descriptors 0, 1 and 2, owned by the process's user; the master goes over
 * `socket` as ChildMessage::terminal.
 */
Status connectTerminal(const plan::Process& process, const Identity& identity, int socket);
/** Binds the terminal that is descriptor 0 to /dev/console of the current root. */
Status showConsole();

}  // namespace bulkhead::init
