// Starts bulkhead-reach. It stays in the host's pid namespace, where no container sees its executable, so unlike init
// it is run from its file.
#pragma once

#include <string_view>

#include "sys/result.h"
#include "sys/syscalls.h"

namespace bulkhead {

/** A child of this process with `request` to read, `output` as its output; the answer is its pidfd. */
Result<Fd> launchReach(const char* path, const char* verb, std::string_view request, int output);

}  // namespace bulkhead
