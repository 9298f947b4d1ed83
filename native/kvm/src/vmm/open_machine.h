// A machine from the words that describe one, in whatever process it is to live in.
#pragma once

#include <memory>

#include "machine/thread_kind.h"
#include "vmm/options.h"

namespace bulkhead::vm {

/** Of a control and the devices, while the machine runs. */
Sockets socketsOf(const VmmOptions& options);

/** Opens what is named, makes the machine or restores it. `options.jail` holds for each of its threads. */
Result<std::unique_ptr<Machine>> openMachine(const VmmOptions& options);

}  // namespace bulkhead::vm
