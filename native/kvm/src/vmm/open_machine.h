// A machine from the words that describe one, in whatever process it is to live in.
#pragma once

#include <memory>

#include "vmm/options.h"

namespace bulkhead::vm {

/** A control or a vsock device, which open sockets while the machine runs. */
bool usesSockets(const VmmOptions& options);

/** Opens what is named, makes the machine or restores it. `options.jail` holds for each of its threads. */
Result<std::unique_ptr<Machine>> openMachine(const VmmOptions& options);

}  // namespace bulkhead::vm
