// cgroup v2's device controller: a program that the kernel asks before a device is opened or made.
#pragma once

#include "sys/result.h"
#include "sys/span.h"

namespace bulkhead::cgroup {

/** Makes the program the cgroup's own, in place of the one it has; programs of the levels above go on being asked. */
Status attachDeviceProgram(int directory, const Span<uint64_t>& program);

}  // namespace bulkhead::cgroup
