import type { OpenLog } from "./log-files.ts";

const newline = 0x0a;
const chunkBytes = 64 * 1024;
/** Where the F or P of a record is: after a 30 byte time, a space, a 6 byte stream name and a space. */
const tagOffset = 38;
const complete = 0x46;

/** Where the last `lines` lines of some log files begin. */
export interface TailStart {
  readonly fileIndex: number;
  readonly offset: number;
}

/** Counts the complete records of one file from its end; the offset after the one that is one too many, if any. */
const scanBack = async (log: OpenLog, wanted: { left: number }): Promise<number | null> => {
  const { size } = await log.file.stat();
  // A record reaches from the byte after one newline to the next; `end` is the newline that ends the current one.
  let end: number | null = null;
  for (let to = size; to > 0; to -= chunkBytes) {
    const from = Math.max(0, to - chunkBytes);
    const buffer = Buffer.alloc(to - from + tagOffset + 1);
    const { bytesRead } = await log.file.read(buffer, 0, buffer.length, from);
    for (let at = to - from - 1; at >= -1; at -= 1) {
      const atFileStart = at === -1 && from === 0;
      if (!atFileStart && (at < 0 || buffer[at] !== newline)) continue;
      if (end !== null && at + 1 + tagOffset < bytesRead && buffer[at + 1 + tagOffset] === complete) {
        if (wanted.left === 0) return end + 1;
        wanted.left -= 1;
      }
      end = from + at;
    }
  }
  return null;
};

/** Finds the start of the last `lines` lines over files ordered oldest first, without reading what comes before. */
export const findTail = async (logs: readonly OpenLog[], lines: number): Promise<TailStart> => {
  const wanted = { left: lines };
  for (let index = logs.length - 1; index >= 0; index -= 1) {
    const log = logs[index];
    const offset = log === undefined ? null : await scanBack(log, wanted);
    if (offset !== null) return { fileIndex: index, offset };
  }
  return { fileIndex: 0, offset: 0 };
};
