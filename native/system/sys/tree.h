// Whole directory trees, however deep and whoever made them.
#pragma once

#include <atomic>

#include "sys/result.h"

namespace bulkhead::sys {

/**
 * Removes what `path` names, a file or a whole tree. Links are removed, never followed. ECANCELED once `*cancelled` is
 * set; a path that is not there is fine.
 */
Status removeTree(const char* path, const std::atomic<bool>* cancelled);

}  // namespace bulkhead::sys
