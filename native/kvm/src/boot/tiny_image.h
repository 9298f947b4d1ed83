// A few instructions as the smallest ELF that the loader takes: how guests of our own are started.
#pragma once

#include <string>
#include <string_view>

namespace bulkhead::vm {

/** `code` is position-independent and begins in 64-bit mode at 1 MiB, with a page of zeroed memory behind it. */
std::string tinyImage(std::string_view code);

}  // namespace bulkhead::vm
