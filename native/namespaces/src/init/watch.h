// The shim's life: copies output to the log, guards the lease, records the end.
#pragma once

#include "init/lease.h"
#include "init/log.h"
#include "init/record.h"
#include "init/root.h"
#include "sys/fd.h"

namespace bulkhead::init {

struct Watched {
  Fd process;  // pidfd
  Fd output;   // read ends; invalid without a log
  Fd error;
  Fd runDirectory;
  /** Waits for all of the others. */
  Fd sources;
  /** v1 memory.oom_control or v2 memory.events; may be invalid. */
  Fd oomCounter;
  /** cgroup.kill of the unified directory, for containers that share a pid namespace; may be invalid. */
  Fd killSwitch;
  /**
   * Keeps the container's mounts until the shim itself ends: taking them down waits for a grace period of the kernel,
   * and the process that held them last is only reported as ended after that (do_exit: exit_task_namespaces comes
   * before exit_notify).
   */
  Fd mounts;
  /** Closed at the end for the same reason, when whoever waits has been told: each waits for a grace period. */
  Layers layers;
  LogFile log;
  Lease lease;
  ExitFile exitFile;
  uint64_t startedAtUnixMs = 0;
};

/** Everything of watching that can fail; once `process` is there, and before the container may run. */
Status prepareWatch(Watched* watched);
/** Runs until the process has ended and its record is written. Uses no memory beyond its own page or two. */
ExitRecord watch(Watched* watched);

/** The number after `key` in a kernel file of "key value" lines; 0 when absent. */
uint64_t readCounter(int file, std::string_view key);

}  // namespace bulkhead::init
