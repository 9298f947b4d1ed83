// Any machine described to the guest's kernel: tables that are whole, where the firmware's area is, or a refusal.
#include <cstdlib>
#include <cstring>

#include "acpi/tables.h"
#include "memory/layout.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kMemoryBytes = 2 * layout::kMiB;
constexpr char kCanary = 0x5a;

void require(bool held) {
  if (!held) abort();
}

uint8_t sumOf(const uint8_t* bytes, size_t size) {
  uint8_t sum = 0;
  for (size_t index = 0; index < size; ++index) sum = static_cast<uint8_t>(sum + bytes[index]);
  return sum;
}

/** A table of ACPI 6.4, 5.2.6: its length lies behind its name, and all its bytes sum up to nothing. */
void requireTable(const GuestMemory& memory, uint64_t address) {
  require(address >= layout::kAcpiTables && address + 36 <= layout::kAcpiTablesEnd);
  uint32_t size = 0;
  memory.read(address + 4, &size);
  require(size >= 36 && size <= layout::kAcpiTablesEnd - address);
  require(sumOf(memory.at(address, size), size) == 0);
}

}  // namespace
}  // namespace bulkhead::vm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace bulkhead::vm;
  static const GuestMemory memory = GuestMemory::create({.sizeBytes = kMemoryBytes}).take();
  if (size < 2) return 0;
  static const std::string untouched(kMemoryBytes, kCanary);
  memset(memory.at(0, kMemoryBytes), kCanary, kMemoryBytes);
  AcpiMachine machine;
  machine.cpus = 1 + (data[0] | data[1] << 8) % 4096;
  for (size_t at = 2; at + sizeof(AcpiDevice) <= size; at += sizeof(AcpiDevice)) {
    AcpiDevice device = {};
    memcpy(&device, data + at, sizeof device);
    machine.devices.push_back(device);
  }
  auto written = writeAcpi(machine, memory);
  // Nothing of the kernel's or of the boot's is touched, whether it fits or not.
  require(memcmp(memory.at(0, layout::kAcpiTables), untouched.data(), layout::kAcpiTables) == 0);
  constexpr uint64_t kAbove = kMemoryBytes - layout::kAcpiTablesEnd;
  require(memcmp(memory.at(layout::kAcpiTablesEnd, kAbove), untouched.data(), kAbove) == 0);
  if (!written.ok()) return 0;
  const uint64_t root = written.value();
  require(memcmp(memory.at(root, 8), "RSD PTR ", 8) == 0 && sumOf(memory.at(root, 36), 36) == 0);
  uint64_t list = 0;
  memory.read(root + 24, &list);
  requireTable(memory, list);
  uint32_t listBytes = 0;
  memory.read(list + 4, &listBytes);
  for (uint64_t entry = list + 36; entry + 8 <= list + listBytes; entry += 8) {
    uint64_t table = 0;
    memory.read(entry, &table);
    requireTable(memory, table);
  }
  return 0;
}
