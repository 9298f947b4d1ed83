// What the monitor gives up before the guest runs.
#pragma once

#include "machine/thread_kind.h"
#include "sys/result.h"

namespace bulkhead::vm {

/**
 * The whole process, while it has one thread and everything is open that it will use: no capabilities and none to be
 * had, no look into its memory from outside, and no file by name any more (Landlock, where the kernel has it).
 */
Status confineProcess();

/** This thread does what its kind needs and nothing else; see allowedCalls. After confineProcess. */
Status confineThread(ThreadKind kind, Sockets sockets);

}  // namespace bulkhead::vm
