// System call names of the two architectures an x86-64 kernel runs.
#pragma once

#include <string_view>

namespace bulkhead::seccomp {

enum class Arch { x86_64, i386 };

/** The number of a system call, or -1 when this architecture has none of that name. */
int syscallNumber(Arch arch, std::string_view name);

}  // namespace bulkhead::seccomp
