import { Buffer } from "node:buffer";

/** Where a kernel is loaded, and entered in 64-bit mode (layout::kKernelStart). */
const entry = 0x10_0000n;
const headerBytes = 64;
const segmentBytes = 56;

/** Machine code as the smallest ELF that the loader takes (System V ABI, chapter 4): one segment, entered at its first byte. */
export const tinyKernel = (code: readonly number[]): Buffer => {
  const image = Buffer.alloc(headerBytes + segmentBytes);
  image.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  image.writeUInt16LE(2, 16);
  image.writeUInt16LE(62, 18);
  image.writeUInt32LE(1, 20);
  image.writeBigUInt64LE(entry, 24);
  image.writeBigUInt64LE(BigInt(headerBytes), 32);
  image.writeUInt16LE(headerBytes, 52);
  image.writeUInt16LE(segmentBytes, 54);
  image.writeUInt16LE(1, 56);
  image.writeUInt32LE(1, headerBytes);
  image.writeBigUInt64LE(BigInt(image.length), headerBytes + 8);
  image.writeBigUInt64LE(entry, headerBytes + 24);
  image.writeBigUInt64LE(BigInt(code.length), headerBytes + 32);
  image.writeBigUInt64LE(BigInt(code.length), headerBytes + 40);
  return Buffer.concat([image, Buffer.from(code)]);
};

/** mov dx, port */
const port = (number: number): number[] => [0x66, 0xba, number & 0xff, number >> 8];
/** mov al, byte; out dx, al */
const out = (byte: number): number[] => [0xb0, byte, 0xee];

/** To the first serial port. */
export const say = (text: string): number[] => [...port(0x3f8), ...[...Buffer.from(text)].flatMap(out)];
/** To the power ports, as hardware-reduced ACPI does (layout::kPowerPorts), and waits for it. */
export const powerOff: readonly number[] = [...port(0x600), ...out(0x34), 0xf4, 0xeb, 0xfd];
/** out 0x80, al for ever */
export const knock: readonly number[] = [0xe6, 0x80, 0xeb, 0xfc];
/** mov al, 0xfe; out 0x64, al: the keyboard controller's way to reset a machine. */
export const reset: readonly number[] = [0xb0, 0xfe, 0xe6, 0x64, 0xf4, 0xeb, 0xfd];
