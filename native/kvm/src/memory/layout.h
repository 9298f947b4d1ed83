// Where things lie in the guest's physical address space. Addresses below 1 MiB are those that x86 boot protocols and
// the firmware they replace leave free; the device window is the hole below 4 GiB that every x86 machine has.
#pragma once

#include <cstdint>

namespace bulkhead::vm::layout {

inline constexpr uint64_t kMiB = 1024 * 1024;
inline constexpr uint64_t kGiB = 1024 * kMiB;

/** RAM below this address is contiguous from 0; the rest begins at kHighRam. */
inline constexpr uint64_t kLowRamEnd = 3 * kGiB;
inline constexpr uint64_t kHighRam = 4 * kGiB;

inline constexpr uint64_t kGdt = 0x500;
inline constexpr uint64_t kPvhStartInfo = 0x6000;
inline constexpr uint64_t kPvhModules = 0x6040;
/** Linux's boot_params, or the PVH memory map: never both. */
inline constexpr uint64_t kZeroPage = 0x7000;
inline constexpr uint64_t kPvhMemoryMap = 0x7000;
inline constexpr uint64_t kBootStack = 0x8ff0;
/** PML4, PDPT and one page directory: 1 GiB mapped to itself in pages of 2 MiB. */
inline constexpr uint64_t kPageTables = 0x9000;
inline constexpr uint64_t kCommandLine = 0x20000;
inline constexpr uint64_t kCommandLineBytes = 4096;
/** What a PC's BIOS keeps for itself: the kernel is told that it is no RAM. */
inline constexpr uint64_t kReservedStart = 0x9fc00;
inline constexpr uint64_t kAcpiTables = 0xe0000;
inline constexpr uint64_t kAcpiTablesEnd = 0xff000;
/** 16 bytes that are others in every copy of a machine. */
inline constexpr uint64_t kGenerationId = 0xff000;
inline constexpr uint64_t kKernelStart = 0x100000;

inline constexpr uint64_t kVirtioMmio = 0xc0001000;
inline constexpr uint64_t kVirtioMmioStep = 0x1000;
inline constexpr uint32_t kMaxVirtioDevices = 16;
inline constexpr uint32_t kIoApic = 0xfec00000;
inline constexpr uint32_t kLocalApic = 0xfee00000;
/** Three pages that Intel's KVM wants for itself, below the end of the 32-bit space. */
inline constexpr uint64_t kTss = 0xfffbd000;

inline constexpr uint16_t kSerialPort = 0x3f8;
inline constexpr uint32_t kSerialGsi = 4;
inline constexpr uint32_t kFirstVirtioGsi = 5;
/** Behind the last virtio device's, and below the IOAPIC's 24. */
inline constexpr uint32_t kGenerationGsi = 21;
inline constexpr uint16_t kPanicPort = 0x505;
/** ACPI sleep control, sleep status and reset registers, one byte each. */
inline constexpr uint16_t kPowerPorts = 0x600;

}  // namespace bulkhead::vm::layout
