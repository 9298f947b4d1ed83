// What a kernel is told at its first instruction, and in which state the processor is then.
#pragma once

#include <string_view>

#include "boot/kernel.h"
#include "kvm/vcpu.h"

namespace bulkhead::vm {

struct Handover {
  std::string_view commandLine;
  Initramfs initramfs;
  /** Root pointer of the ACPI tables. */
  uint64_t acpi = 0;
};

/**
 * Writes memory map, command line and protocol structures, and answers the first processor's state.
 * @returns E2BIG when the command line is longer than the kernel takes
 */
Result<EntryState> prepareHandover(const Kernel& kernel, const Handover& handover, const GuestMemory& memory,
                                   const EntryState& initial);

struct MemoryRange {
  uint64_t address;
  uint64_t sizeBytes;
  /** As in e820 and PVH alike. */
  enum Type : uint32_t { ram = 1, reserved = 2 } type;
};

inline constexpr uint32_t kMaxMemoryRanges = 4;
/** The machine's memory as kernels are told it; answers how many ranges there are. */
uint32_t memoryMap(const GuestMemory& memory, MemoryRange (&ranges)[kMaxMemoryRanges]);

}  // namespace bulkhead::vm
