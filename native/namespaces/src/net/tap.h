// A virtual machine's link to a network of the host's.
#pragma once

#include <string>

#include "sys/fd.h"
#include "sys/result.h"

namespace bulkhead::net {

/**
 * Makes a tap device in this process's network namespace, with a name and an index that nobody has. Frames have a
 * virtio header without a packet's before it. The device is there for as long as somebody has its descriptor.
 */
Result<Fd> openTap(const std::string& name, unsigned index);

}  // namespace bulkhead::net
