// Whole directory trees, however deep and whoever made them.
#pragma once

#include <atomic>
#include <string>
#include <vector>

#include "sys/result.h"

namespace bulkhead::sys {

/**
 * Removes what `path` names, a file or a whole tree. Links are removed, never followed. ECANCELED once `*cancelled` is
 * set; a path that is not there is fine.
 */
Status removeTree(const char* path, const std::atomic<bool>* cancelled);

/**
 * Removes what is in a directory, but for directories of these names in it, which are emptied. EPERM when one of them,
 * or the directory itself, is not as this process makes them (its own, mode 0700): then it had a use besides.
 */
Status emptyTree(const char* path, const std::vector<std::string>& kept, const std::atomic<bool>* cancelled);

/**
 * Tells the file system that what lies in this directory has nothing to do with one another (chattr(1), "T"). ext4 then
 * gives each tree in it a block group of its own. Without it all share one, and a new file there is looked for past
 * every one that was removed in the last minute: at a hundred instances a second that is most of what a directory
 * costs. A file system without such a hint is no failure.
 */
Status spreadChildren(const char* path);

}  // namespace bulkhead::sys
