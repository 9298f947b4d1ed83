#include "boot/handover.h"

#include <cerrno>
#include <cstddef>

#include "memory/layout.h"

namespace bulkhead::vm {
namespace {

/** xen/include/public/arch-x86/hvm/start_info.h */
struct PvhStartInfo {
  uint32_t magic = 0x336ec578;
  uint32_t version = 1;
  uint32_t flags = 0;
  uint32_t moduleCount = 0;
  uint64_t modules = 0;
  uint64_t commandLine = 0;
  uint64_t acpi = 0;
  uint64_t memoryMap = 0;
  uint32_t memoryMapCount = 0;
  uint32_t reserved = 0;
};
struct PvhModule {
  uint64_t address;
  uint64_t sizeBytes;
  uint64_t commandLine;
  uint64_t reserved;
};
struct PvhMemoryRange {
  uint64_t address;
  uint64_t sizeBytes;
  uint32_t type;
  uint32_t reserved;
};

struct [[gnu::packed]] E820Entry {
  uint64_t address;
  uint64_t sizeBytes;
  uint32_t type;
};

/** Linux's boot_params, a page of which few fields matter here (Documentation/arch/x86/zero-page.rst). */
class ZeroPage {
 public:
  explicit ZeroPage(const Kernel& kernel) {
    memcpy(bytes_ + kSetupHeader, kernel.setupHeader.data(), kernel.setupHeader.size());
  }
  template <class T>
  void set(size_t offset, T value) {
    memcpy(bytes_ + offset, &value, sizeof value);
  }
  bool write(const GuestMemory& memory) const {
    uint8_t* to = memory.at(layout::kZeroPage, sizeof bytes_);
    if (to != nullptr) memcpy(to, bytes_, sizeof bytes_);
    return to != nullptr;
  }

 private:
  uint8_t bytes_[4096] = {};
};

bool writeZeroPage(const Kernel& kernel, const Handover& handover, const GuestMemory& memory) {
  ZeroPage page(kernel);
  MemoryRange ranges[kMaxMemoryRanges];
  const uint32_t count = memoryMap(memory, ranges);
  page.set<uint64_t>(0x070, handover.acpi);
  page.set<uint8_t>(0x1e8, static_cast<uint8_t>(count));
  page.set<uint16_t>(0x1fe, 0xaa55);
  page.set<uint32_t>(0x202, 0x53726448);  // "HdrS"
  page.set<uint8_t>(0x210, 0xff);         // a boot loader without a number
  page.set<uint32_t>(0x218, static_cast<uint32_t>(handover.initramfs.address));
  page.set<uint32_t>(0x21c, static_cast<uint32_t>(handover.initramfs.sizeBytes));
  page.set<uint32_t>(0x228, static_cast<uint32_t>(layout::kCommandLine));
  for (uint32_t index = 0; index < count; ++index) {
    const MemoryRange& range = ranges[index];
    page.set(0x2d0 + index * sizeof(E820Entry), E820Entry{range.address, range.sizeBytes, range.type});
  }
  return page.write(memory);
}

bool writePvh(const Handover& handover, const GuestMemory& memory) {
  MemoryRange ranges[kMaxMemoryRanges];
  PvhStartInfo info;
  info.memoryMapCount = memoryMap(memory, ranges);
  info.memoryMap = layout::kPvhMemoryMap;
  info.commandLine = layout::kCommandLine;
  info.acpi = handover.acpi;
  if (handover.initramfs.sizeBytes > 0) {
    info.moduleCount = 1;
    info.modules = layout::kPvhModules;
    const PvhModule module = {handover.initramfs.address, handover.initramfs.sizeBytes, 0, 0};
    if (!memory.write(layout::kPvhModules, module)) return false;
  }
  for (uint32_t index = 0; index < info.memoryMapCount; ++index) {
    const PvhMemoryRange range = {ranges[index].address, ranges[index].sizeBytes, ranges[index].type, 0};
    if (!memory.write(layout::kPvhMemoryMap + index * sizeof range, range)) return false;
  }
  return memory.write(layout::kPvhStartInfo, info);
}

/** A flat segment: base 0, limit 4 GiB. Selector and descriptor type as in the table below. */
kvm_segment flat(uint16_t selector, uint8_t type, bool longMode, bool wide) {
  kvm_segment segment = {};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = 1;
  segment.db = wide;
  segment.l = longMode;
  segment.g = 1;
  return segment;
}

/** Segments of a flat machine, in registers and as a table for kernels that load them again. */
bool setSegments(const GuestMemory& memory, bool longMode, kvm_sregs* special) {
  constexpr uint8_t kCode = 0xb;  // executable, readable, accessed
  constexpr uint8_t kData = 0x3;  // writable, accessed
  constexpr uint16_t kCodeSelector = 0x10;
  constexpr uint16_t kDataSelector = 0x18;
  constexpr uint16_t kTaskSelector = 0x20;
  // Intel SDM volume 3, segment descriptors: limit, base, type, then G, D/B and L.
  const uint64_t table[] = {0, 0, longMode ? 0x00af9b000000ffffu : 0x00cf9b000000ffffu, 0x00cf93000000ffffu,
                            0x00008b0000000067u};
  special->cs = flat(kCodeSelector, kCode, longMode, !longMode);
  special->ds = flat(kDataSelector, kData, false, true);
  special->es = special->fs = special->gs = special->ss = special->ds;
  special->tr = {};
  special->tr.limit = 0x67;
  special->tr.selector = kTaskSelector;
  special->tr.type = 0xb;  // busy task
  special->tr.present = 1;
  special->gdt.base = layout::kGdt;
  special->gdt.limit = sizeof table - 1;
  special->idt.base = 0;
  special->idt.limit = 0;
  return memory.write(layout::kGdt, table);
}

/** The first GiB mapped to itself. */
bool writePageTables(const GuestMemory& memory) {
  constexpr uint64_t kPage = 4096;
  constexpr uint64_t kTable = 0x3;   // present, writable
  constexpr uint64_t kLarge = 0x83;  // and a page of 2 MiB
  constexpr uint64_t kDirectory = layout::kPageTables + 2 * kPage;
  bool written = memory.write(layout::kPageTables, (layout::kPageTables + kPage) | kTable) &&
                 memory.write(layout::kPageTables + kPage, kDirectory | kTable);
  for (uint64_t index = 0; index < 512 && written; ++index) {
    written = memory.write(kDirectory + index * 8, index * 2 * layout::kMiB | kLarge);
  }
  return written;
}

// Intel SDM volume 3, control registers.
constexpr uint64_t kCr0ProtectedMode = 0x1;
constexpr uint64_t kCr0Extension = 0x10;
constexpr uint64_t kCr0Paging = 0x80000000;
constexpr uint64_t kCr4PhysicalAddressExtension = 0x20;
constexpr uint64_t kEferLongMode = 0x500;  // enabled and active

}  // namespace

uint32_t memoryMap(const GuestMemory& memory, MemoryRange (&ranges)[kMaxMemoryRanges]) {
  uint32_t count = 0;
  ranges[count++] = {0, layout::kReservedStart, MemoryRange::ram};
  ranges[count++] = {layout::kReservedStart, layout::kKernelStart - layout::kReservedStart, MemoryRange::reserved};
  for (const Region& region : memory.regions()) {
    const uint64_t from = region.address == 0 ? layout::kKernelStart : region.address;
    ranges[count++] = {from, region.address + region.sizeBytes - from, MemoryRange::ram};
  }
  return count;
}

Result<EntryState> prepareHandover(const Kernel& kernel, const Handover& handover, const GuestMemory& memory,
                                   const EntryState& initial) {
  const uint64_t limit =
      kernel.commandLineBytes < layout::kCommandLineBytes ? kernel.commandLineBytes : layout::kCommandLineBytes - 1;
  if (handover.commandLine.size() > limit) return failure("command line", E2BIG, "longer than this kernel takes");
  uint8_t* const line = memory.at(layout::kCommandLine, layout::kCommandLineBytes);
  if (line == nullptr) return failure("guest memory", ENOMEM, "command line");
  memset(line, 0, layout::kCommandLineBytes);
  if (!handover.commandLine.empty()) memcpy(line, handover.commandLine.data(), handover.commandLine.size());

  EntryState state = initial;
  state.registers = {};
  state.registers.rflags = 2;  // the bit that is always set
  state.registers.rip = kernel.entry;
  const bool longMode = kernel.protocol == Protocol::linux64;
  bool written = setSegments(memory, longMode, &state.special);
  if (longMode) {
    written = written && writeZeroPage(kernel, handover, memory) && writePageTables(memory);
    state.registers.rsi = layout::kZeroPage;
    state.registers.rsp = state.registers.rbp = layout::kBootStack;
    state.special.cr0 = kCr0ProtectedMode | kCr0Extension | kCr0Paging;
    state.special.cr3 = layout::kPageTables;
    state.special.cr4 = kCr4PhysicalAddressExtension;
    state.special.efer = kEferLongMode;
  } else {
    written = written && writePvh(handover, memory);
    state.registers.rbx = layout::kPvhStartInfo;
    state.special.cr0 = kCr0ProtectedMode | kCr0Extension;
    state.special.cr4 = 0;
    state.special.efer = 0;
  }
  if (!written) return failure("guest memory", ENOMEM, "boot structures");
  return state;
}

}  // namespace bulkhead::vm
