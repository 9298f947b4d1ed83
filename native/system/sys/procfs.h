// Which process a number means: a pid alone can be reused, pid and start time cannot.
#pragma once

#include <cstdint>

#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead::sys {

struct ProcessRef {
  pid_t pid;
  /** Field 22 of /proc/PID/stat: clock ticks since boot. */
  uint64_t startTicks;
};

Result<uint64_t> startTicks(pid_t pid);
/** The same out of the text of /proc/PID/stat; EPROTO when it is none. */
Result<uint64_t> parseStartTicks(const char* text);
/** Whether a process is a thread of the kernel; ESRCH when it is gone. */
Result<bool> isKernelThread(pid_t pid);
/** The number here of a pidfd's process; whoever opened it may have counted in another pid namespace. */
Result<pid_t> numberOf(int pidfd);
/** A descriptor for exactly this process; ESRCH when it is gone or its number belongs to another now. */
Result<Fd> openProcess(const ProcessRef& ref);

}  // namespace bulkhead::sys
