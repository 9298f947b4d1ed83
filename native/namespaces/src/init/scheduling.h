// How the kernel runs the process.
#pragma once

#include <sys/types.h>

#include "plan/plan.h"
#include "sys/result.h"

namespace bulkhead::init {

/** Scheduler and I/O priority of a process (0: the caller): real-time classes need the host's privileges. */
Status applyPriorities(const plan::Scheduling& scheduling, pid_t pid);
/** Personality and memory policy of the caller. */
Status applyExecution(const plan::Scheduling& scheduling);
/**
 * CPUs of the caller; an empty set is every CPU that its cpuset allows. Of a caller whom nobody keeps on one, that is
 * no failure where the host lets nobody choose.
 */
Status setAffinity(const Span<uint64_t>& cpus);
/** Keeps the caller on one CPU, or away from it if it has another; undone by setAffinity. Best effort. */
void stayOnCpu(int cpu);
void leaveCpu(int cpu);

}  // namespace bulkhead::init
