import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { parentPort, workerData } from "node:worker_threads";
import { nextData } from "@bulkhead/native-kvm";

/** What is read at once, and what of it counts as one piece, in bytes; the latter is part of what a digest says. */
const readBytes = 2 ** 20;
const pieceBytes = 2 ** 16;
/** How often it tells how far it is, in milliseconds. */
const tellMs = 500;
const zeros = Buffer.alloc(pieceBytes);

/** Reads until the buffer is full or the file ends. */
const fill = (fd: number, buffer: Buffer, at: number): Buffer => {
  let filled = 0;
  while (filled < buffer.length) {
    const bytesRead = readSync(fd, buffer, filled, buffer.length - filled, at + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
};

/** What file-digest.ts says; in a thread of its own, because gibibytes are read. */
const digest = (fd: number, tell: (readBytes: number) => void): string => {
  const hash = createHash("sha256");
  const number = Buffer.alloc(8);
  const buffer = Buffer.alloc(readBytes);
  let toldMs = -tellMs;
  for (let at = 0; ;) {
    const part = nextData(fd, at);
    if (part === undefined) break;
    const [from, to] = part;
    for (at = from - (from % pieceBytes); at < to;) {
      const read = fill(fd, buffer, at);
      for (let offset = 0; offset < read.length; offset += pieceBytes) {
        const piece = read.subarray(offset, offset + pieceBytes);
        if (piece.equals(zeros.subarray(0, piece.length))) continue;
        number.writeBigUInt64LE(BigInt(at + offset));
        hash.update(number).update(piece);
      }
      at += readBytes;
      if (performance.now() - toldMs < tellMs) continue;
      toldMs = performance.now();
      tell(Math.min(at, to));
    }
  }
  number.writeBigUInt64LE(BigInt(fstatSync(fd).size));
  return hash.update(number).digest("hex");
};

const post = (told: number | string): void => {
  // oxlint-disable-next-line require-post-message-target-origin -- a thread's port has no origin
  parentPort?.postMessage(told);
};
// A descriptor of its own: who asked may have given up, and closed what may be another file by now.
const own = openSync(`/proc/self/fd/${workerData as number}`, "r");
try {
  post(digest(own, post));
} finally {
  closeSync(own);
}
