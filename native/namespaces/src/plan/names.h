// Names of the OCI specification and the kernel numbers they stand for.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace bulkhead::plan {

/** Number of a capability ("CAP_CHOWN"), or -1. */
int capabilityNumber(std::string_view name);
/** Number of a resource limit ("RLIMIT_NOFILE"), or -1. */
int limitNumber(std::string_view name);
/** CLONE_NEW* flag of an OCI namespace type ("network"), or 0. */
uint32_t namespaceFlag(std::string_view type);

/** All of them, in the kernel's order. */
std::vector<std::string_view> capabilityNames();
std::vector<std::string_view> namespaceNames();
/** Modes and flags of linux.memoryPolicy. */
std::vector<std::string_view> memoryModeNames();
std::vector<std::string_view> memoryFlagNames();

}  // namespace bulkhead::plan
