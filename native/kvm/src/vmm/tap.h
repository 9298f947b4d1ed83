// A tap device by its name, for those who start the monitor by hand; a jail passes a descriptor.
#pragma once

#include <string>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::vm {

/** Attaches to the device, making it if need be. @returns what the kernel says, or EINVAL for a name too long */
Result<Fd> openTap(const std::string& name);

}  // namespace bulkhead::vm
