// What the plan compiler and init support, as the runtime specification's
// features document.
#pragma once

#include <string>

namespace bulkhead::plan {

/** JSON of runtime-spec's features.md, ended by a newline; made from the tables
 * that the compiler itself reads. */
std::string featuresDocument();

}  // namespace bulkhead::plan
