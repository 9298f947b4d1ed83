/** Bytes `start` to `end`, both included. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/**
 * The one range a `Range` header asks for (RFC 9110 section 14.1.2): `undefined` for no header, several ranges or another
 * unit, which all mean the whole; `"unsatisfiable"` beyond the end.
 */
export const parseRange = (header: string | undefined, size: number): ByteRange | "unsatisfiable" | undefined => {
  const found = /^bytes=(?<first>[0-9]*)-(?<last>[0-9]*)$/.exec(header ?? "")?.groups;
  const { first = "", last = "" } = found ?? {};
  if (first === "" && last === "") return undefined;
  if (first === "") {
    const suffix = Number(last);
    return suffix === 0 || size === 0 ? "unsatisfiable" : { start: Math.max(0, size - suffix), end: size - 1 };
  }
  const start = Number(first);
  const end = last === "" ? size - 1 : Math.min(Number(last), size - 1);
  if (start >= size) return "unsatisfiable";
  return end < start ? undefined : { start, end };
};

/** The first `bytes` of a source, which is closed after them. */
export async function* firstBytes(source: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  let left = bytes;
  for await (const chunk of source) {
    const piece = chunk.subarray(0, left);
    left -= piece.byteLength;
    yield piece;
    if (left === 0) return;
  }
}
