#pragma once

#include <string>

#include "layer.h"
#include "outcome.h"

namespace bulkhead::unpack {

// The one line on standard output.
//   success: {"entries":N,"bytes":N,"skippedDevices":N,"skippedXattrs":N,"opaqueRoot":false}
//   failure: {"error":CODE,"path":TEXT,"detail":TEXT,"errno":N}
// CODE: malformed (not a tar, damaged, or names nothing can have), escape (a name that leads outside), link (a link
// without a target in the layer), conflict (a file where a directory must be), tooLarge, tooMany, io (the host's
// fault), crashed, usage.
std::string success_line(const Totals& totals);
std::string failure_line(const Failure& failure);

// 1: the layer is refused; 3: the host failed. (0 is success, 2 is usage.)
int exit_code(const Failure& failure);

// JSON string with quotes; bytes that are not printable ASCII or valid UTF-8 become \u00XX.
std::string json_string(std::string_view bytes);

}  // namespace bulkhead::unpack
