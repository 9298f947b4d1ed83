// A process that finds no file in one directory.
#pragma once

#include "sys/result.h"

namespace bulkhead::vm {

/**
 * From here on this process, and what it becomes, reaches files by name everywhere below the root but in the directory
 * `hidden` of it (Landlock). A kernel without Landlock, or without capabilities' end before this: nothing is hidden.
 */
Status hideDirectory(const char* hidden);

}  // namespace bulkhead::vm
