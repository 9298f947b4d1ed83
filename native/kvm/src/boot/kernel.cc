#include "boot/kernel.h"

#include <cerrno>

#include "memory/layout.h"

namespace bulkhead::vm {

Result<Kernel> loadKernel(const Source& image, const GuestMemory& memory) {
  constexpr uint32_t kElfMagic = 0x464c457f;
  constexpr uint32_t kSetupMagic = 0x53726448;  // "HdrS"
  constexpr uint64_t kSetupMagicAt = 0x202;
  if (TRY(image.readAs<uint32_t>(0)) == kElfMagic) return loadElf(image, memory);
  if (TRY(image.readAs<uint32_t>(kSetupMagicAt)) == kSetupMagic) return loadBzImage(image, memory);
  return failure("kernel image", ENOEXEC, "it is neither ELF nor bzImage");
}

Result<Initramfs> loadInitramfs(const Source& image, const Kernel& kernel, const GuestMemory& memory) {
  constexpr uint64_t kPage = 4096;
  const uint64_t size = image.sizeBytes();
  const uint64_t limit = kernel.initramfsLimit + 1;
  const uint64_t top = memory.lowEnd() < limit ? memory.lowEnd() : limit;
  if (size == 0) return failure("initramfs", EINVAL, "it is empty");
  if (size > top || top - size < kernel.end)
    return failure("initramfs", ENOMEM, "no room between kernel and end of RAM");
  const uint64_t address = (top - size) / kPage * kPage;
  if (address < kernel.end || memory.at(address, size) == nullptr) {
    return failure("initramfs", ENOMEM, "no room between kernel and end of RAM");
  }
  TRY(image.load(0, memory, address, size));
  return Initramfs{address, size};
}

}  // namespace bulkhead::vm
