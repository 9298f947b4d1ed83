// tmpcopyup: a tmpfs that begins with what its place in the image holds.
#pragma once

#include "sys/result.h"

namespace bulkhead::init {

/** Copies a directory's files, links and directories with owner and mode; anything else is left out. */
Status copyUp(int from, int to);
/** Gives the root of a new tmpfs the mode of the directory it will cover. */
Status inheritMode(int from, int to);

}  // namespace bulkhead::init
