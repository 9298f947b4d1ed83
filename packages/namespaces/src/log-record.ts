import type { LogLine } from "@bulkhead/node";

const space = 0x20;
const newline = 0x0a;

/**
 * One record of a log file in the CRI format, `<RFC 3339 nanos> <stdout|stderr> <F|P> <text>`, without its newline;
 * null for a line that is none (a torn write at a crash).
 */
export const parseLogRecord = (line: Buffer): LogLine | null => {
  const first = line.indexOf(space);
  const second = line.indexOf(space, first + 1);
  const third = line.indexOf(space, second + 1);
  if (first < 20 || second < 0 || third < 0) return null;
  const stream = line.toString("latin1", first + 1, second);
  const tag = line.toString("latin1", second + 1, third);
  if ((stream !== "stdout" && stream !== "stderr") || (tag !== "F" && tag !== "P")) return null;
  return { at: line.toString("latin1", 0, first), stream, text: line.subarray(third + 1), complete: tag === "F" };
};

/** Cuts bytes that arrive in pieces into lines; what follows the last newline waits for more. */
export class LineSplitter {
  #rest: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): Buffer[] {
    const data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const lines: Buffer[] = [];
    let start = 0;
    for (let end = data.indexOf(newline); end >= 0; end = data.indexOf(newline, start)) {
      lines.push(data.subarray(start, end));
      start = end + 1;
    }
    this.#rest = Buffer.from(data.subarray(start));
    return lines;
  }
}

/** A time that compares as text with those the shim writes: UTC with nine digits. `null` when it is none. */
export const comparableTime = (text: string): string | null => {
  const match = /^(.*?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)$/i.exec(text);
  const milliseconds = Date.parse(match === null ? text : `${match[1]}${match[3]}`);
  if (Number.isNaN(milliseconds)) return null;
  const fraction = (match?.[2] ?? "").padEnd(9, "0");
  return `${new Date(milliseconds).toISOString().slice(0, 19)}.${fraction}Z`;
};
