// Lists of processors as people and the kernel write them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "sys/result.h"

namespace bulkhead::vm {

/** `0,2,4-7`, in this order (cpuset(7), List format). @returns EINVAL for anything else, and for a processor named
 * twice */
Result<std::vector<uint32_t>> parseCpuList(std::string_view text);

}  // namespace bulkhead::vm
