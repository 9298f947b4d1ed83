// ELF64 executables: System V ABI, and Xen's note for the PVH entry.
#include <elf.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

#include "boot/kernel.h"
#include "memory/layout.h"

namespace bulkhead::vm {
namespace {

/** vmlinux has five; more than this is no kernel. */
constexpr uint16_t kMaxSegments = 64;
/** All notes of vmlinux together are a few hundred bytes. */
constexpr uint64_t kMaxNoteBytes = 64 * 1024;
/** xen/include/public/elfnote.h: XEN_ELFNOTE_PHYS32_ENTRY. */
constexpr uint32_t kPvhEntryNote = 18;
/** x86's kernels map this much of the command line (COMMAND_LINE_SIZE). */
constexpr uint64_t kElfCommandLineBytes = 2048;

Error refused(std::string_view why) {
  return failure("kernel image", ENOEXEC, why);
}

Status checkHeader(const Elf64_Ehdr& header) {
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return refused("ELF of another word size or byte order");
  }
  if (header.e_machine != EM_X86_64) return refused("ELF of another processor");
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN) return refused("ELF that is no program");
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 || header.e_phnum > kMaxSegments) {
    return refused("ELF without usable program headers");
  }
  return Done{};
}

/** The address range a segment takes, copied to guest memory; memory beyond the file's part is zero already. */
Status loadSegment(const Source& image, const Elf64_Phdr& segment, const GuestMemory& memory) {
  if (segment.p_filesz > segment.p_memsz) return refused("segment that is larger in the file than in memory");
  if (segment.p_paddr < layout::kKernelStart) return refused("segment below 1 MiB");
  if (memory.at(segment.p_paddr, segment.p_memsz) == nullptr) {
    return failure("kernel image", ENOMEM, "segment outside the guest's RAM");
  }
  return image.load(segment.p_offset, memory, segment.p_paddr, segment.p_filesz);
}

/** What is loaded later would overwrite what was loaded before; no linker makes such. */
bool overlap(const std::vector<Elf64_Phdr>& segments) {
  std::vector<std::pair<uint64_t, uint64_t>> ranges;
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type == PT_LOAD && segment.p_memsz > 0) ranges.emplace_back(segment.p_paddr, segment.p_memsz);
  }
  std::sort(ranges.begin(), ranges.end());
  for (size_t index = 1; index < ranges.size(); ++index) {
    if (ranges[index].first - ranges[index - 1].first < ranges[index - 1].second) return true;
  }
  return false;
}

uint64_t padded(uint64_t size) {
  return (size + 3) & ~uint64_t{3};
}

/** The 32-bit entry that a note names; 0 without one. */
uint64_t pvhEntry(std::string_view notes) {
  while (notes.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr head;
    memcpy(&head, notes.data(), sizeof head);
    notes.remove_prefix(sizeof head);
    const uint64_t nameBytes = padded(head.n_namesz);
    const uint64_t valueBytes = padded(head.n_descsz);
    if (nameBytes > notes.size() || valueBytes > notes.size() - nameBytes) return 0;
    const std::string_view value = notes.substr(nameBytes, head.n_descsz);
    if (head.n_type == kPvhEntryNote && notes.substr(0, head.n_namesz) == std::string_view("Xen", 4) &&
        (value.size() == 4 || value.size() == 8)) {
      uint64_t entry = 0;
      memcpy(&entry, value.data(), value.size());
      return entry;
    }
    notes.remove_prefix(nameBytes + valueBytes);
  }
  return 0;
}

Result<uint64_t> readPvhEntry(const Source& image, const Elf64_Phdr& segment) {
  if (segment.p_filesz > kMaxNoteBytes) return refused("notes of unbelievable size");
  std::vector<char> notes(segment.p_filesz);
  TRY(image.read(segment.p_offset, notes.data(), notes.size()));
  return pvhEntry({notes.data(), notes.size()});
}

}  // namespace

Result<Kernel> loadElf(const Source& image, const GuestMemory& memory) {
  const auto header = TRY(image.readAs<Elf64_Ehdr>(0));
  TRY(checkHeader(header));
  std::vector<Elf64_Phdr> segments(header.e_phnum);
  TRY(image.read(header.e_phoff, segments.data(), segments.size() * sizeof(Elf64_Phdr)));
  Kernel kernel;
  kernel.entry = header.e_entry;
  kernel.initramfsLimit = layout::kLowRamEnd - 1;
  kernel.commandLineBytes = kElfCommandLineBytes;
  if (overlap(segments)) return refused("segments that overlap");
  for (const Elf64_Phdr& segment : segments) {
    if (segment.p_type == PT_LOAD && segment.p_memsz > 0) {
      TRY(loadSegment(image, segment, memory));
      kernel.end = std::max(kernel.end, segment.p_paddr + segment.p_memsz);
    }
    if (segment.p_type == PT_NOTE && kernel.protocol != Protocol::pvh) {
      const uint64_t entry = TRY(readPvhEntry(image, segment));
      if (entry == 0) continue;
      kernel.protocol = Protocol::pvh;
      kernel.entry = entry;
    }
  }
  const bool loaded = std::any_of(segments.begin(), segments.end(), [&](const Elf64_Phdr& segment) {
    return segment.p_type == PT_LOAD && kernel.entry >= segment.p_paddr &&
           kernel.entry - segment.p_paddr < segment.p_memsz;
  });
  // The page tables that a 64-bit entry finds, and the registers that a 32-bit one has, reach no further.
  if (!loaded || kernel.entry >= layout::kGiB) return refused("entry outside what is loaded below 1 GiB");
  return kernel;
}

}  // namespace bulkhead::vm
