// ACPI 6.4: table layouts of chapter 5.2.
#include "acpi/tables.h"

#include <cerrno>

#include "acpi/aml.h"
#include "memory/layout.h"

namespace bulkhead::vm {
namespace {

/** A table under construction: fields are set by offset; what is not set is zero. */
class Table {
 public:
  static constexpr size_t kHeaderBytes = 36;

  Table(const char* signature, uint8_t revision, size_t bytes) : bytes_(bytes, '\0') {
    put(0, signature, 4);
    set<uint8_t>(8, revision);
    put(10, "BULKHD", 6);
    put(16, "MICROVM ", 8);
    set<uint32_t>(24, 1);
    put(28, "BLKH", 4);
    set<uint32_t>(32, 1);
  }
  template <class T>
  void set(size_t offset, T value) {
    put(offset, reinterpret_cast<const char*>(&value), sizeof value);
  }
  template <class T>
  void add(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void add(const aml::Bytes& content) { bytes_ += content; }

  /** With length and checksum. */
  AcpiTable finish() {
    set<uint32_t>(4, static_cast<uint32_t>(bytes_.size()));
    set<uint8_t>(9, 0);
    uint8_t sum = 0;
    for (const char byte : bytes_) sum += static_cast<uint8_t>(byte);
    set<uint8_t>(9, static_cast<uint8_t>(-sum));
    return bytes_;
  }

 private:
  void put(size_t offset, const char* bytes, size_t size) { bytes_.replace(offset, size, bytes, size); }

  std::string bytes_;
};

struct [[gnu::packed]] GenericAddress {
  uint8_t space;
  uint8_t bitWidth;
  uint8_t bitOffset = 0;
  uint8_t accessSize;
  uint64_t address;
};

GenericAddress bytePort(uint16_t offset) {
  return {.space = 1, .bitWidth = 8, .accessSize = 1, .address = uint64_t{layout::kPowerPorts} + offset};
}

AcpiTable xsdt(const std::vector<uint64_t>& tables) {
  Table table("XSDT", 1, Table::kHeaderBytes);
  for (const uint64_t address : tables) table.add(address);
  return table.finish();
}

struct [[gnu::packed]] RootPointer {
  char signature[8] = {'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
  uint8_t checksum = 0;
  char oem[6] = {'B', 'U', 'L', 'K', 'H', 'D'};
  uint8_t revision = 2;
  uint32_t rsdt = 0;
  uint32_t length = sizeof(RootPointer);
  uint64_t xsdt = 0;
  uint8_t extendedChecksum = 0;
  uint8_t reserved[3] = {};
};

uint8_t checksum(const void* data, size_t size) {
  const auto* bytes = static_cast<const uint8_t*>(data);
  uint8_t sum = 0;
  for (size_t index = 0; index < size; ++index) sum += bytes[index];
  return static_cast<uint8_t>(-sum);
}

/** Puts tables one behind the other. */
class Area {
 public:
  explicit Area(const GuestMemory& memory) : memory_(memory) {}

  Result<uint64_t> place(const AcpiTable& table) {
    constexpr uint64_t kAlignment = 64;
    const uint64_t address = next_;
    uint8_t* const to = memory_.at(address, table.size());
    if (to == nullptr || table.size() > layout::kAcpiTablesEnd - address) {
      return failure("ACPI tables", E2BIG, "they do not fit below 1 MiB");
    }
    memcpy(to, table.data(), table.size());
    next_ = (address + table.size() + kAlignment - 1) / kAlignment * kAlignment;
    return address;
  }

 private:
  const GuestMemory& memory_;
  /** The root pointer comes first, so that a kernel that is not told finds it by search. */
  uint64_t next_ = layout::kAcpiTables + 64;
};

}  // namespace

AcpiTable madt(uint32_t cpus) {
  Table table("APIC", 5, Table::kHeaderBytes);
  table.add(layout::kLocalApic);
  table.add(uint32_t{0});  // no pair of 8259
  for (uint32_t index = 0; index < cpus; ++index) {
    table.add(uint16_t{8 << 8 | 0});  // type 0, 8 bytes
    table.add(static_cast<uint8_t>(index));
    table.add(static_cast<uint8_t>(index));
    table.add(uint32_t{1});  // enabled
  }
  table.add(uint16_t{12 << 8 | 1});  // type 1, 12 bytes
  table.add(uint16_t{0});
  table.add(layout::kIoApic);
  table.add(uint32_t{0});  // its first interrupt is 0
  return table.finish();
}

namespace {

/**
 * Where the machine's generation id lies, and who says that it is another: Microsoft, "Virtual Machine Generation ID";
 * ACPI 6.4, 5.6.9 (a generic event device, which hardware-reduced machines have instead of a general-purpose event).
 */
aml::Bytes generation() {
  using namespace aml;
  constexpr uint64_t kChanged = 0x80;
  return device("VGEN", named("_HID", text("VMGENCTR")) + named("_CID", text("VM_Gen_Counter")) +
                            named("_DDN", text("VM_Gen_Counter")) +
                            named("ADDR", package({layout::kGenerationId, 0}))) +
         device("GED", named("_HID", text("ACPI0013")) + named("_UID", integer(0)) +
                           named("_CRS", resources(interrupt(layout::kGenerationGsi))) +
                           method("_EVT", 1, notify("VGEN", kChanged)));
}

}  // namespace

AcpiTable dsdt(const AcpiMachine& machine) {
  using namespace aml;
  Bytes devices =
      device("COM1", named("_HID", eisaId("PNP0501")) + named("_UID", integer(0)) +
                         named("_CRS", resources(ports(layout::kSerialPort, 8) + interrupt(layout::kSerialGsi))));
  devices += device("PEVT", named("_HID", text("QEMU0001")) + named("_CRS", resources(ports(layout::kPanicPort, 1))));
  uint32_t number = 0;
  for (const AcpiDevice& each : machine.devices) {
    constexpr char kDigits[] = "0123456789ABCDEF";
    const char name[] = {'V', 'R', kDigits[number >> 4 & 0xf], kDigits[number & 0xf]};
    devices += device({name, sizeof name},
                      named("_HID", text("LNRO0005")) + named("_UID", integer(number)) + named("_CCA", integer(1)) +
                          named("_CRS", resources(memory32(each.address, each.sizeBytes) + interrupt(each.gsi))));
    ++number;
  }
  devices += generation();
  Table table("DSDT", 2, Table::kHeaderBytes);
  table.add(scope("\\_SB", devices));
  table.add(named("\\_S5", package({kSleepTypeOff, 0, 0, 0})));
  return table.finish();
}

AcpiTable fadt(uint64_t dsdtAddress) {
  constexpr uint32_t kWbinvd = 1 << 0;
  constexpr uint32_t kNoPowerButton = 1 << 4;
  constexpr uint32_t kNoSleepButton = 1 << 5;
  constexpr uint32_t kResetRegister = 1 << 10;
  constexpr uint32_t kHardwareReduced = 1 << 20;
  constexpr uint16_t kNoVga = 1 << 2;
  constexpr uint16_t kNoRtc = 1 << 5;
  Table table("FACP", 6, 276);
  table.set<uint16_t>(109, kNoVga | kNoRtc);
  table.set<uint32_t>(112, kWbinvd | kNoPowerButton | kNoSleepButton | kResetRegister | kHardwareReduced);
  table.set(116, bytePort(kReset));
  table.set<uint8_t>(128, kResetValue);
  table.set<uint8_t>(131, 4);  // minor version
  table.set<uint64_t>(140, dsdtAddress);
  table.set(244, bytePort(kSleepControl));
  table.set(256, bytePort(kSleepStatus));
  return table.finish();
}

Result<uint64_t> writeAcpi(const AcpiMachine& machine, const GuestMemory& memory) {
  Area area(memory);
  const uint64_t devices = TRY(area.place(dsdt(machine)));
  const uint64_t fixed = TRY(area.place(fadt(devices)));
  const uint64_t processors = TRY(area.place(madt(machine.cpus)));
  RootPointer root;
  root.xsdt = TRY(area.place(xsdt({fixed, processors})));
  root.checksum = checksum(&root, offsetof(RootPointer, length));
  root.extendedChecksum = checksum(&root, sizeof root);
  if (!memory.write(layout::kAcpiTables, root)) return failure("ACPI tables", E2BIG, "root pointer");
  return layout::kAcpiTables;
}

}  // namespace bulkhead::vm
