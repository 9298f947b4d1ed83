import { crc32 } from "node:zlib";

/** One JSON value a line, led by its CRC-32, so that a torn or rotten line is known for what it is. */
export const encodeRecord = (value: unknown): string => {
  const json = JSON.stringify(value);
  return `${crc32(json).toString(16).padStart(8, "0")} ${json}\n`;
};

export interface Decoded {
  readonly values: readonly unknown[];
  /** lines that were torn or damaged, and left out */
  readonly damaged: number;
}

/** Length of the checksum and the space after it. */
const headLength = 9;

export const decodeRecords = (bytes: Uint8Array): Decoded => {
  const values: unknown[] = [];
  let damaged = 0;
  const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("utf8").split("\n");
  // A file that ends well ends with a newline, which leaves one empty piece.
  if (lines.at(-1) === "") lines.pop();
  for (const line of lines) {
    const json = line.slice(headLength);
    if (line[headLength - 1] === " " && Number.parseInt(line.slice(0, headLength - 1), 16) === crc32(json)) {
      values.push(JSON.parse(json));
    } else damaged += 1;
  }
  return { values, damaged };
};
