#pragma once

#include <functional>
#include <string>

#include "tree.h"

namespace bulkhead::unpack {

// Runs `work` in a child process that holds no CAP_SYS_ADMIN; this process parses nothing and does one thing for it:
// it sets the opaque mark, which only CAP_SYS_ADMIN may, on directories whose descriptors the child sends.
//
//   child (parses tar, few capabilities) --[descriptor]--> parent (CAP_SYS_ADMIN alone)
//                                        <--[errno]-------
//
// `work` returns the exit code, which is passed on; a child that dies is reported on standard output.
int run_supervised(const std::function<int(OpaqueMarker&)>& work);

// Writes the whole line to standard output.
void print(const std::string& line);

}  // namespace bulkhead::unpack
