// Kernel images: ELF (PVH or 64-bit entry) and bzImage.
#pragma once

#include <array>
#include <cstdint>

#include "boot/source.h"
#include "memory/guest_memory.h"

namespace bulkhead::vm {

/** How the first instruction expects to find the machine. */
enum class Protocol { pvh, linux64 };

/** Linux's setup header lies from here to at most the end in boot_params (Documentation/arch/x86/boot.rst). */
inline constexpr size_t kSetupHeader = 0x1f1;
inline constexpr size_t kSetupHeaderEnd = 0x290;

/** A kernel in guest memory. */
struct Kernel {
  Protocol protocol = Protocol::linux64;
  uint64_t entry = 0;
  /** The first address above everything that the kernel uses before it knows its memory. */
  uint64_t end = 0;
  /** The highest address that an initramfs may have. */
  uint64_t initramfsLimit = 0;
  uint64_t commandLineBytes = 0;
  /** Bytes of boot_params from kSetupHeader on, as the image has them; zero for ELF. */
  std::array<uint8_t, kSetupHeaderEnd - kSetupHeader> setupHeader = {};
};

/**
 * Copies an image to where it says, which is never below 1 MiB.
 * @returns ENOEXEC with what is wrong, EBADMSG when the file ends early, ENOMEM when it does not fit the guest's RAM
 */
Result<Kernel> loadKernel(const Source& image, const GuestMemory& memory);

Result<Kernel> loadElf(const Source& image, const GuestMemory& memory);
Result<Kernel> loadBzImage(const Source& image, const GuestMemory& memory);

struct Initramfs {
  uint64_t address = 0;
  uint64_t sizeBytes = 0;
};

/** At the top of low RAM, above the kernel. @returns ENOMEM when there is no room. */
Result<Initramfs> loadInitramfs(const Source& image, const Kernel& kernel, const GuestMemory& memory);

}  // namespace bulkhead::vm
