// Which of the host's NUMA nodes memory comes from.
#pragma once

#include <cstdint>
#include <vector>

#include "sys/result.h"

namespace bulkhead::vm {

/** Above every node that Linux can have (CONFIG_NODES_SHIFT is at most 10). */
inline constexpr uint32_t kMaxNodes = 1024;

/**
 * Has the pages of a mapping come from these nodes alone, also where they come to lie later, and reads back that it is
 * so. @returns EINVAL when any of them cannot be had, ENOSYS where the kernel knows no nodes
 */
Status bindToNodes(void* base, uint64_t sizeBytes, const std::vector<uint32_t>& nodes);

}  // namespace bulkhead::vm
