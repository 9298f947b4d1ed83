/**
 * Debian's kernel as what both monitors boot: the ELF inside its bzImage, with a mark before its first instruction. The
 * mark is a line feed on the serial port, written by eight instructions of ours that the PVH note names as entry, so
 * that any monitor's output says when the kernel is entered.
 */
import { readFileSync, writeFileSync } from "node:fs";

const serialPort = 0x3f8;
/** Below the kernel, in RAM that nothing else claims; the entry's own page. */
const stubAddress = 0x100000;

/** One block of LZ4's format (lz4_Block_format.md): literals and matches until the input ends. Answers the new end. */
const decompressBlock = (block: Buffer, out: Buffer, start: number): number => {
  let from = 0;
  let to = start;
  /** A length of 15 goes on in bytes, of which the first below 255 is the last. */
  const longer = (length: number): number => {
    if (length < 15) return length;
    let sum = length;
    let more: number;
    do {
      more = block[from] ?? 0;
      from += 1;
      sum += more;
    } while (more === 255);
    return sum;
  };
  while (from < block.length) {
    const token = block[from] ?? 0;
    from += 1;
    const literals = longer(token >> 4);
    block.copy(out, to, from, from + literals);
    from += literals;
    to += literals;
    if (from >= block.length) break;
    const distance = block.readUInt16LE(from);
    from += 2;
    const length = longer(token & 15) + 4;
    // A match may overlap what it makes.
    for (const end = to + length; to < end;) {
      const piece = Math.min(distance, end - to);
      out.copyWithin(to, to - distance, to - distance + piece);
      to += piece;
    }
  }
  return to;
};

/** The ELF in a bzImage that is compressed by `lz4 -l`, as Debian's are. */
const elfOf = (image: Buffer): Buffer => {
  const magic = Buffer.from([0x02, 0x21, 0x4c, 0x18]);
  const begin = image.indexOf(magic);
  if (begin < 0) throw new Error("the kernel is not compressed with LZ4");
  const out = Buffer.alloc(256 * 2 ** 20);
  let size = 0;
  for (let at = begin + magic.length; at + 4 <= image.length;) {
    const bytes = image.readUInt32LE(at);
    // Behind the last block is the size of it all, and then what is no block.
    if (bytes === 0 || bytes > image.length - at - 4 || size === image.readUInt32LE(at)) break;
    size = decompressBlock(image.subarray(at + 4, at + 4 + bytes), out, size);
    at += 4 + bytes;
  }
  return out.subarray(0, size);
};

/** Where the value of Xen's note for the PVH entry lies in the file (type 18, name "Xen"). */
const pvhNote = (elf: Buffer): number => {
  const head = Buffer.from([4, 0, 0, 0, 0, 0, 0, 0, 18, 0, 0, 0, 0x58, 0x65, 0x6e, 0]);
  for (const valueBytes of [4, 8]) {
    head.writeUInt32LE(valueBytes, 4);
    const at = elf.indexOf(head);
    if (at >= 0) return at + head.length;
  }
  throw new Error("the kernel has no PVH entry");
};

/** In 32-bit protected mode: a line feed to the serial port, then the kernel; PVH gives EBX a meaning and EAX none. */
const stubTo = (entry: number): Buffer => {
  const stub = Buffer.from([0x66, 0xba, 0, 0, 0xb0, 0x0a, 0xee, 0xb8, 0, 0, 0, 0, 0xff, 0xe0]);
  stub.writeUInt16LE(serialPort, 2);
  stub.writeUInt32LE(entry, 8);
  return stub;
};

/** Writes the marked ELF of the bzImage at `image` to `path`. */
export const writeMarkedKernel = (image: string, path: string): void => {
  const elf = elfOf(readFileSync(image));
  const note = pvhNote(elf);
  const stub = stubTo(elf.readUInt32LE(note));
  elf.writeUInt32LE(stubAddress, note);
  // ELF64: one more program header, in a table behind everything, because there is no room behind the first.
  const headers = Number(elf.readBigUInt64LE(0x20));
  const entryBytes = elf.readUInt16LE(0x36);
  const count = elf.readUInt16LE(0x38);
  const end = Math.ceil(elf.length / 4096) * 4096;
  const load = Buffer.alloc(entryBytes);
  load.writeUInt32LE(1, 0);
  load.writeUInt32LE(5, 4);
  load.writeBigUInt64LE(BigInt(end), 8);
  load.writeBigUInt64LE(BigInt(stubAddress), 16);
  load.writeBigUInt64LE(BigInt(stubAddress), 24);
  load.writeBigUInt64LE(BigInt(stub.length), 32);
  load.writeBigUInt64LE(BigInt(stub.length), 40);
  load.writeBigUInt64LE(4096n, 48);
  const table = Buffer.concat([elf.subarray(headers, headers + count * entryBytes), load]);
  elf.writeBigUInt64LE(BigInt(end + 4096), 0x20);
  elf.writeUInt16LE(count + 1, 0x38);
  const padding = Buffer.alloc(end - elf.length);
  writeFileSync(path, Buffer.concat([elf, padding, stub, Buffer.alloc(4096 - stub.length), table]));
};
