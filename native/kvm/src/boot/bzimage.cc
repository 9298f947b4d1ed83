// Linux's bzImage, entered at its 64-bit entry: Documentation/arch/x86/boot.rst.
#include <cerrno>
#include <cstring>
#include <string_view>

#include "boot/kernel.h"
#include "memory/layout.h"

namespace bulkhead::vm {
namespace {

constexpr uint64_t kSectorBytes = 512;
/** The first boot protocol whose header says where a 64-bit entry is (Linux 3.8). */
constexpr uint16_t kFirstVersion = 0x20c;
constexpr uint8_t kLoadedHigh = 1;
constexpr uint16_t kHas64BitEntry = 1;
constexpr uint64_t kEntryOffset = 0x200;
/** No compressed kernel comes near; it bounds what is copied. */
constexpr uint64_t kMaxKernelBytes = layout::kGiB;

/** The fields that decide, at their offsets in the file. */
struct Header {
  uint8_t setupSectors;
  uint8_t headerEnd;
  uint16_t version;
  uint8_t loadFlags;
  uint32_t initramfsLimit;
  uint32_t alignment;
  uint8_t relocatable;
  uint16_t extendedLoadFlags;
  uint32_t commandLineBytes;
  uint64_t preferredAddress;
  uint32_t initBytes;
};

Result<Header> readHeader(const Source& image) {
  Header header;
  header.setupSectors = TRY(image.readAs<uint8_t>(0x1f1));
  header.headerEnd = TRY(image.readAs<uint8_t>(0x201));
  header.version = TRY(image.readAs<uint16_t>(0x206));
  header.loadFlags = TRY(image.readAs<uint8_t>(0x211));
  header.initramfsLimit = TRY(image.readAs<uint32_t>(0x22c));
  header.alignment = TRY(image.readAs<uint32_t>(0x230));
  header.relocatable = TRY(image.readAs<uint8_t>(0x234));
  header.extendedLoadFlags = TRY(image.readAs<uint16_t>(0x236));
  header.commandLineBytes = TRY(image.readAs<uint32_t>(0x238));
  header.preferredAddress = TRY(image.readAs<uint64_t>(0x258));
  header.initBytes = TRY(image.readAs<uint32_t>(0x260));
  return header;
}

Error refused(std::string_view why) {
  return failure("kernel image", ENOEXEC, why);
}

bool fits(uint64_t address, uint64_t size, const GuestMemory& memory) {
  return address >= layout::kKernelStart && address < layout::kGiB && size <= layout::kGiB - address &&
         memory.at(address, size) != nullptr;
}

}  // namespace

Result<Kernel> loadBzImage(const Source& image, const GuestMemory& memory) {
  const Header header = TRY(readHeader(image));
  if (header.version < kFirstVersion) return refused("bzImage of a boot protocol before 2.12");
  if ((header.loadFlags & kLoadedHigh) == 0) return refused("bzImage that wants to be below 1 MiB");
  if ((header.extendedLoadFlags & kHas64BitEntry) == 0) return refused("bzImage without a 64-bit entry");

  // 0 means 4, for kernels older than the field.
  const uint64_t sectors = header.setupSectors == 0 ? 4 : header.setupSectors;
  const uint64_t offset = (sectors + 1) * kSectorBytes;
  if (offset >= image.sizeBytes() || image.sizeBytes() - offset > kMaxKernelBytes) {
    return refused("bzImage without a kernel behind its set-up code");
  }
  const uint64_t size = image.sizeBytes() - offset;
  // What it needs until it has looked at the memory map, which is never less than itself.
  const uint64_t needed = header.initBytes > size ? header.initBytes : size;
  uint64_t address = header.preferredAddress;
  if (!fits(address, needed, memory) && header.relocatable != 0) {
    const uint64_t step = header.alignment == 0 ? layout::kMiB : header.alignment;
    address = (layout::kKernelStart + step - 1) / step * step;
  }
  if (!fits(address, needed, memory)) return failure("kernel image", ENOMEM, "no room for it in the first GiB of RAM");
  TRY(image.load(offset, memory, address, size));

  Kernel kernel;
  kernel.protocol = Protocol::linux64;
  kernel.entry = address + kEntryOffset;
  kernel.end = address + needed;
  kernel.initramfsLimit = header.initramfsLimit < layout::kLowRamEnd ? header.initramfsLimit : layout::kLowRamEnd - 1;
  kernel.commandLineBytes = header.commandLineBytes;
  const size_t end = 0x202 + size_t{header.headerEnd};
  const size_t bytes = (end < kSetupHeaderEnd ? end : kSetupHeaderEnd) - kSetupHeader;
  TRY(image.read(kSetupHeader, kernel.setupHeader.data(), bytes));
  return kernel;
}

}  // namespace bulkhead::vm
