/** How many of a kernel file's first bytes say what it is. */
export const kernelHeadBytes = 1024;

/** Setup header of a bzImage (Linux, Documentation/arch/x86/boot.rst). */
const bootFlag = { at: 0x1fe, value: 0xaa55 } as const;
const magic = { at: 0x202, text: "HdrS" } as const;
const version = { at: 0x206, lowest: 0x020c } as const;

/** ELF64, little-endian, for x86-64 (System V ABI, "ELF Header"). */
const elf = [0x7f, 0x45, 0x4c, 0x46, 2, 1] as const;
const machine = { at: 18, x86: 62 } as const;

const isElf = (head: Buffer): boolean =>
  elf.every((byte, at) => head[at] === byte) && head.readUInt16LE(machine.at) === machine.x86;

/** Why a file that begins so is no kernel that a machine can boot; null when it looks like one. */
export const kernelHeaderFault = (head: Buffer): string | null => {
  if (head.length < kernelHeadBytes) return "is cut off in its header";
  if (isElf(head)) return null;
  if (head.readUInt16LE(bootFlag.at) !== bootFlag.value) return "is neither a bzImage nor an ELF file for x86-64";
  if (head.toString("latin1", magic.at, magic.at + magic.text.length) !== magic.text) {
    return "is a bzImage without a setup header";
  }
  const protocol = head.readUInt16LE(version.at);
  return protocol < version.lowest ? `has boot protocol ${protocol >> 8}.${protocol & 0xff}, older than 2.12` : null;
};
