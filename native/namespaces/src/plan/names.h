// Names of the OCI specification and the kernel numbers they stand for.
#pragma once

#include <cstdint>
#include <string_view>

namespace bulkhead::plan {

/** Number of a capability ("CAP_CHOWN"), or -1. */
int capabilityNumber(std::string_view name);
/** Number of a resource limit ("RLIMIT_NOFILE"), or -1. */
int limitNumber(std::string_view name);
/** CLONE_NEW* flag of an OCI namespace type ("network"), or 0. */
uint32_t namespaceFlag(std::string_view type);

}  // namespace bulkhead::plan
