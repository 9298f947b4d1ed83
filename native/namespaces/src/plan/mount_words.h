// Every word that the compiler knows as a mount option of any file system.
#pragma once

#include <string_view>
#include <vector>

namespace bulkhead::plan {

std::vector<std::string_view> mountWords();

}  // namespace bulkhead::plan
