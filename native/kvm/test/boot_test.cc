// Kernel images, whole and broken.
#include <elf.h>

#include <cerrno>
#include <vector>

#include "boot/handover.h"
#include "boot/tiny_image.h"
#include "memory/layout.h"
#include "runner.h"

namespace bulkhead::vm {
namespace {

using layout::kMiB;

GuestMemory memoryOf(uint64_t mebibytes) {
  return GuestMemory::create({.sizeBytes = mebibytes * kMiB}).take();
}

int errorOf(std::string_view image, const GuestMemory& memory) {
  auto loaded = loadKernel(BytesSource(image), memory);
  return loaded.ok() ? 0 : loaded.error().err;
}

template <class T>
std::string with(std::string image, size_t offset, T value) {
  memcpy(image.data() + offset, &value, sizeof value);
  return image;
}

/** A bzImage of one sector of set-up code whose kernel is `code`. */
std::string bzImage(std::string_view code) {
  std::string image(1024, '\0');
  image = with<uint8_t>(image, 0x1f1, 1);
  image = with<uint8_t>(image, 0x201, 0x6a);
  image = with<uint32_t>(image, 0x202, 0x53726448);
  image = with<uint16_t>(image, 0x206, 0x20f);
  image = with<uint8_t>(image, 0x211, 1);
  image = with<uint32_t>(image, 0x22c, 0x7fffffff);
  image = with<uint8_t>(image, 0x234, 1);
  image = with<uint32_t>(image, 0x230, 2 * kMiB);
  image = with<uint16_t>(image, 0x236, 1);
  image = with<uint32_t>(image, 0x238, 2047);
  image = with<uint64_t>(image, 0x258, 16 * kMiB);
  image = with<uint32_t>(image, 0x260, kMiB);
  image += code;
  return image;
}

constexpr size_t kSegment = sizeof(Elf64_Ehdr);

}  // namespace

TEST(boot_elf_goes_where_it_says) {
  const GuestMemory memory = memoryOf(4);
  auto loaded = loadKernel(BytesSource(tinyImage("\xf4\xeb\xfd")), memory);
  EXPECT(loaded.ok() && loaded.value().entry == layout::kKernelStart);
  EXPECT(loaded.value().protocol == Protocol::linux64);
  EXPECT(memcmp(memory.at(layout::kKernelStart, 3), "\xf4\xeb\xfd", 3) == 0);
}

TEST(boot_elf_with_a_note_is_entered_by_pvh) {
  const GuestMemory memory = memoryOf(4);
  std::string image = tinyImage(std::string(64, '\x90'));
  Elf64_Phdr note = {};
  note.p_type = PT_NOTE;
  note.p_filesz = 20;
  // The note's header replaces the first instructions; a second program header lies behind the code.
  std::string bytes("\x04\0\0\0\x04\0\0\0\x12\0\0\0Xen\0\x10\0\x10\0", 20);
  note.p_offset = image.size();
  image += bytes;
  Elf64_Phdr load;
  memcpy(&load, image.data() + kSegment, sizeof load);
  image = with<uint64_t>(image, offsetof(Elf64_Ehdr, e_phoff), image.size());
  image = with<uint16_t>(image, offsetof(Elf64_Ehdr, e_phnum), 2);
  image.append(reinterpret_cast<const char*>(&load), sizeof load);
  image.append(reinterpret_cast<const char*>(&note), sizeof note);
  auto loaded = loadKernel(BytesSource(image), memory);
  EXPECT(loaded.ok() && loaded.value().protocol == Protocol::pvh && loaded.value().entry == 0x100010);
}

TEST(boot_broken_elf_is_refused) {
  const GuestMemory memory = memoryOf(4);
  const std::string good = tinyImage("code");
  const auto segment = [](size_t field) { return kSegment + field; };
  EXPECT(errorOf(good, memory) == 0);
  EXPECT(errorOf("", memory) == EBADMSG);
  EXPECT(errorOf(std::string(600, 'x'), memory) == ENOEXEC);
  EXPECT(errorOf(with<uint16_t>(good, offsetof(Elf64_Ehdr, e_machine), EM_386), memory) == ENOEXEC);
  EXPECT(errorOf(with<uint16_t>(good, offsetof(Elf64_Ehdr, e_phnum), 65), memory) == ENOEXEC);
  EXPECT(errorOf(with<uint64_t>(good, offsetof(Elf64_Ehdr, e_phoff), ~uint64_t{0}), memory) == EBADMSG);
  EXPECT(errorOf(with<uint64_t>(good, offsetof(Elf64_Ehdr, e_entry), 0x300000), memory) == ENOEXEC);
  EXPECT(errorOf(with<uint64_t>(good, segment(offsetof(Elf64_Phdr, p_paddr)), 0x7000), memory) == ENOEXEC);
  EXPECT(errorOf(with<uint64_t>(good, segment(offsetof(Elf64_Phdr, p_paddr)), ~uint64_t{0}), memory) == ENOMEM);
  EXPECT(errorOf(with<uint64_t>(good, segment(offsetof(Elf64_Phdr, p_memsz)), ~uint64_t{0}), memory) == ENOMEM);
  EXPECT(errorOf(with<uint64_t>(good, segment(offsetof(Elf64_Phdr, p_memsz)), 1), memory) == ENOEXEC);
  EXPECT(errorOf(with<uint64_t>(good, segment(offsetof(Elf64_Phdr, p_offset)), 1 << 20), memory) == EBADMSG);
}

TEST(boot_elf_whose_segments_overlap_is_refused) {
  const GuestMemory memory = memoryOf(8);
  const auto errorFor = [&](uint64_t second) {
    std::string image = tinyImage("code");
    Elf64_Phdr load;
    memcpy(&load, image.data() + kSegment, sizeof load);
    image = with<uint64_t>(image, offsetof(Elf64_Ehdr, e_phoff), image.size());
    image = with<uint16_t>(image, offsetof(Elf64_Ehdr, e_phnum), 2);
    image.append(reinterpret_cast<const char*>(&load), sizeof load);
    load.p_paddr = second;
    image.append(reinterpret_cast<const char*>(&load), sizeof load);
    return errorOf(image, memory);
  };
  const uint64_t end = layout::kKernelStart + 4 + 4096;
  EXPECT(errorFor(end) == 0);
  EXPECT(errorFor(end - 1) == ENOEXEC);
  EXPECT(errorFor(layout::kKernelStart) == ENOEXEC);
}

TEST(boot_bzimage_is_moved_when_it_does_not_fit) {
  const GuestMemory large = memoryOf(32);
  auto loaded = loadKernel(BytesSource(bzImage("kernel")), large);
  EXPECT(loaded.ok() && loaded.value().entry == 16 * kMiB + 0x200);
  const GuestMemory small = memoryOf(4);
  loaded = loadKernel(BytesSource(bzImage("kernel")), small);
  EXPECT(loaded.ok() && loaded.value().entry == 2 * kMiB + 0x200);
  EXPECT(errorOf(with<uint8_t>(bzImage("kernel"), 0x234, 0), small) == ENOMEM);
}

TEST(boot_broken_bzimage_is_refused) {
  const GuestMemory memory = memoryOf(32);
  EXPECT(errorOf(bzImage(""), memory) == ENOEXEC);
  EXPECT(errorOf(with<uint16_t>(bzImage("k"), 0x206, 0x20b), memory) == ENOEXEC);
  EXPECT(errorOf(with<uint8_t>(bzImage("k"), 0x211, 0), memory) == ENOEXEC);
  EXPECT(errorOf(with<uint16_t>(bzImage("k"), 0x236, 0), memory) == ENOEXEC);
  EXPECT(errorOf(with<uint8_t>(bzImage("k"), 0x1f1, 255), memory) == ENOEXEC);
  EXPECT(errorOf(with<uint32_t>(bzImage("k"), 0x260, ~0u), memory) == ENOMEM);
  EXPECT(errorOf(bzImage("k").substr(0, 0x240), memory) == EBADMSG);
}

TEST(boot_initramfs_lies_above_the_kernel_or_nowhere) {
  const GuestMemory memory = memoryOf(4);
  const Kernel kernel = loadKernel(BytesSource(tinyImage("code")), memory).take();
  const std::string content(3 * 4096 + 5, 'i');
  auto placed = loadInitramfs(BytesSource(content), kernel, memory);
  EXPECT(placed.ok() && placed.value().address == 4 * kMiB - 4 * 4096);
  EXPECT(memcmp(memory.at(placed.value().address, content.size()), content.data(), content.size()) == 0);
  const std::string huge(3 * kMiB, 'i');
  EXPECT(loadInitramfs(BytesSource(huge), kernel, memory).error().err == ENOMEM);
  EXPECT(loadInitramfs(BytesSource(""), kernel, memory).error().err == EINVAL);
  Kernel low = kernel;
  low.initramfsLimit = 0xfffff;
  EXPECT(loadInitramfs(BytesSource("x"), low, memory).error().err == ENOMEM);
}

TEST(boot_command_line_has_a_limit) {
  const GuestMemory memory = memoryOf(4);
  const Kernel kernel = loadKernel(BytesSource(tinyImage("code")), memory).take();
  const std::string fits(kernel.commandLineBytes, 'x');
  EXPECT(prepareHandover(kernel, {.commandLine = fits, .initramfs = {}}, memory, {}).ok());
  const std::string longer = fits + 'x';
  EXPECT(prepareHandover(kernel, {.commandLine = longer, .initramfs = {}}, memory, {}).error().err == E2BIG);
}

}  // namespace bulkhead::vm
