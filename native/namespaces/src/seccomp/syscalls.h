// System call names of the two architectures an x86-64 kernel runs.
#pragma once

#include <cstdint>
#include <string_view>

namespace bulkhead::seccomp {

enum class Arch { x86_64, i386 };

/** The number of a system call, or -1 when this architecture has none of that name. */
int syscallNumber(Arch arch, std::string_view name);

/** The older way to the same call through socketcall(2) or ipc(2), which 32-bit x86 programs may take. */
struct Multiplexed {
  int number;  // -1: none
  uint32_t call;
};
Multiplexed multiplexed(Arch arch, std::string_view name);

}  // namespace bulkhead::seccomp
