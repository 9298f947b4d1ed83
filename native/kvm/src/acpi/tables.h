// The ACPI tables of a machine: the only way in which distribution kernels find devices that are not on a bus.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "memory/guest_memory.h"

namespace bulkhead::vm {

struct AcpiDevice {
  uint32_t address;
  uint32_t sizeBytes;
  uint32_t gsi;
};

struct AcpiMachine {
  uint32_t cpus = 1;
  /** virtio-mmio devices, in the order in which kernels number them. */
  std::vector<AcpiDevice> devices;
};

/** One table as it lies in memory, checksum included. */
using AcpiTable = std::string;

/** Where each processor's interrupts arrive. */
AcpiTable madt(uint32_t cpus);
/** The devices, in AML. */
AcpiTable dsdt(const AcpiMachine& machine);
/** Hardware-reduced: no timers, buttons or registers of a PC, but power-off and reset by a port each. */
AcpiTable fadt(uint64_t dsdtAddress);

/** Writes all tables below 1 MiB. @returns the root pointer's address; E2BIG when they do not fit */
Result<uint64_t> writeAcpi(const AcpiMachine& machine, const GuestMemory& memory);

/** Value for the sleep control register that means power-off: ACPI 6.4, 4.8.3.7; type as `_S5_` says. */
inline constexpr uint8_t kSleepTypeOff = 5;
inline constexpr uint8_t kSleepOff = kSleepTypeOff << 2 | 1 << 5;
inline constexpr uint8_t kResetValue = 1;
/** Offsets from layout::kPowerPorts. */
inline constexpr uint16_t kSleepControl = 0;
inline constexpr uint16_t kSleepStatus = 1;
inline constexpr uint16_t kReset = 2;
inline constexpr uint16_t kPowerPortCount = 3;

}  // namespace bulkhead::vm
