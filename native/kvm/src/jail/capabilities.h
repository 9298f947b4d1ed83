// Giving up every capability.
#pragma once

#include "sys/result.h"

namespace bulkhead::vm {

/** None, and none to be had: neither by a program that is run, nor by being its user namespace's root. */
Status dropCapabilities();

}  // namespace bulkhead::vm
