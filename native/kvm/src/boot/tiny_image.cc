#include "boot/tiny_image.h"

#include <elf.h>

#include <cstring>

#include "memory/layout.h"

namespace bulkhead::vm {

std::string tinyImage(std::string_view code) {
  constexpr size_t kCodeAt = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr);
  Elf64_Ehdr header = {};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_entry = layout::kKernelStart;
  header.e_phoff = sizeof header;
  header.e_ehsize = sizeof header;
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 1;
  Elf64_Phdr segment = {};
  segment.p_type = PT_LOAD;
  segment.p_offset = kCodeAt;
  segment.p_paddr = layout::kKernelStart;
  segment.p_filesz = code.size();
  segment.p_memsz = code.size() + 4096;
  std::string image(kCodeAt, '\0');
  memcpy(image.data(), &header, sizeof header);
  memcpy(image.data() + sizeof header, &segment, sizeof segment);
  image += code;
  return image;
}

}  // namespace bulkhead::vm
