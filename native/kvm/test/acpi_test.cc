// ACPI tables: lengths and checksums by rule, AML by what it has to be.
#include "acpi/tables.h"

#include "acpi/aml.h"
#include "memory/layout.h"
#include "runner.h"

namespace bulkhead::vm {
namespace {

uint8_t sumOf(std::string_view bytes) {
  uint8_t sum = 0;
  for (const char byte : bytes) sum += static_cast<uint8_t>(byte);
  return sum;
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    char digits[4];
    snprintf(digits, sizeof digits, "%02x", static_cast<uint8_t>(byte));
    text += digits;
  }
  return text;
}

AcpiMachine machineOf(uint32_t cpus, uint32_t devices) {
  AcpiMachine machine{.cpus = cpus, .devices = {}};
  for (uint32_t index = 0; index < devices; ++index) {
    machine.devices.push_back({static_cast<uint32_t>(layout::kVirtioMmio + index * 4096), 4096, 5 + index});
  }
  return machine;
}

}  // namespace

TEST(acpi_tables_have_their_length_and_checksum) {
  for (const AcpiTable& table : {madt(1), madt(64), dsdt(machineOf(1, 0)), dsdt(machineOf(1, 16)), fadt(0xe0040)}) {
    uint32_t length;
    memcpy(&length, table.data() + 4, sizeof length);
    EXPECT(length == table.size());
    EXPECT(sumOf(table) == 0);
  }
  EXPECT(fadt(0).size() == 276);
  EXPECT(madt(3).size() == 44 + 3 * 8 + 12);
}

TEST(acpi_root_pointer_leads_to_every_table) {
  const GuestMemory memory = GuestMemory::create({.sizeBytes = 2 * layout::kMiB}).take();
  auto root = writeAcpi(machineOf(4, 16), memory);
  EXPECT(root.ok() && root.value() == layout::kAcpiTables);
  const char* bytes = reinterpret_cast<const char*>(memory.at(root.value(), 36));
  EXPECT(sumOf({bytes, 20}) == 0);
  EXPECT(sumOf({bytes, 36}) == 0);
  uint64_t list;
  EXPECT(memory.read(root.value() + 24, &list));
  const char* signatures[] = {"FACP", "APIC"};
  for (size_t index = 0; index < 2; ++index) {
    uint64_t table;
    EXPECT(memory.read(list + 36 + index * 8, &table));
    EXPECT(memcmp(memory.at(table, 4), signatures[index], 4) == 0);
  }
}

TEST(aml_is_encoded_as_the_specification_says) {
  EXPECT_TEXT(hex(aml::integer(0)), "00");
  EXPECT_TEXT(hex(aml::integer(0x1234)), "0b3412");
  EXPECT_TEXT(hex(aml::eisaId("PNP0501")), "0c41d00501");
  EXPECT_TEXT(hex(aml::named("\\_S5", aml::package({5, 0}))), "085c5f53355f1205020a0500");
  EXPECT_TEXT(hex(aml::interrupt(5)), "890600030105000000");
  EXPECT_TEXT(hex(aml::memory32(0xc0001000, 0x1000)), "86090001001000c000100000");
  // Lengths count their own bytes: 62 more fit one, 63 need two.
  EXPECT_TEXT(hex(aml::scope("A", std::string(58, 'x')).substr(0, 2)), "103f");
  EXPECT_TEXT(hex(aml::scope("A", std::string(59, 'x')).substr(0, 3)), "104104");
}

}  // namespace bulkhead::vm
