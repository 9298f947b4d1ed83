import { createHash } from "node:crypto";
import type { FileHandle } from "node:fs/promises";
import { nextData } from "@bulkhead/native-kvm";

/** What is read at once, and what of it counts as one piece, in bytes; the latter is part of what a digest says. */
const readBytes = 2 ** 20;
const pieceBytes = 2 ** 16;
const zeros = Buffer.alloc(pieceBytes);

/** Reads until the buffer is full or the file ends. */
const fill = async (file: FileHandle, buffer: Buffer, at: number): Promise<Buffer> => {
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, at + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
};

/**
 * SHA-256 of a file's size and of each piece of it that is not all zeros, after its place. So holes, of which a machine's
 * memory and disk are mostly made, are not read, and it does not matter which zeros are holes.
 */
export const digestOf = async (file: FileHandle): Promise<string> => {
  const hash = createHash("sha256");
  const number = Buffer.alloc(8);
  const buffer = Buffer.alloc(readBytes);
  for (let at = 0; ;) {
    const part = nextData(file.fd, at);
    if (part === undefined) break;
    const [from, to] = part;
    for (at = from - (from % pieceBytes); at < to;) {
      const read = await fill(file, buffer, at);
      for (let offset = 0; offset < read.length; offset += pieceBytes) {
        const piece = read.subarray(offset, offset + pieceBytes);
        if (piece.equals(zeros.subarray(0, piece.length))) continue;
        number.writeBigUInt64LE(BigInt(at + offset));
        hash.update(number).update(piece);
      }
      at += readBytes;
    }
  }
  number.writeBigUInt64LE(BigInt((await file.stat()).size));
  return hash.update(number).digest("hex");
};
