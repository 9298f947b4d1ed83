import { Readable, type Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createZstdDecompress } from "node:zlib";
import { fleetError, isFleetError } from "@bulkhead/contracts";
import type { ByteSource } from "../blobs/staging.ts";
import { zstdFrames } from "./zstd-frames.ts";

export type Compression = "none" | "gzip" | "zstd";

/** zlib's own 16 KiB would mean four times as many trips through the thread pool. */
const chunkSize = 64 * 1024;

const foreign: readonly (readonly [string, readonly number[]])[] = [
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ["zip", [0x50, 0x4b, 0x03, 0x04]],
];

const startsWith = (head: Uint8Array, magic: readonly number[]): boolean =>
  magic.every((byte, at) => head[at] === byte);

/** By the first bytes, never by a name or a media type; throws IMAGE_INVALID for formats that are not read. */
export const compressionOf = (head: Uint8Array, what: string): Compression => {
  if (startsWith(head, [0x1f, 0x8b])) return "gzip";
  // A stream may start with a skippable frame, whose low four bits are free.
  if (startsWith(head, [0x28, 0xb5, 0x2f, 0xfd])) return "zstd";
  if ((head[0] ?? 0) >> 4 === 5 && startsWith(head.subarray(1), [0x2a, 0x4d, 0x18])) return "zstd";
  const other = foreign.find(([, magic]) => startsWith(head, magic));
  if (other !== undefined) {
    throw fleetError("IMAGE_INVALID", `${what} is compressed with ${other[0]}; gzip, zstd and none are read`);
  }
  return "none";
};

/** The first `count` bytes (fewer when the source is shorter), and the whole source again. */
export const peek = async (
  source: ByteSource,
  count: number,
): Promise<{ head: Uint8Array; whole: AsyncGenerator<Uint8Array> }> => {
  const iterator = source[Symbol.asyncIterator]();
  let head: Uint8Array = new Uint8Array(0);
  while (head.byteLength < count) {
    const next = await iterator.next();
    if (next.done === true) break;
    head = head.byteLength === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  async function* whole(): AsyncGenerator<Uint8Array> {
    try {
      if (head.byteLength > 0) yield head;
      for (;;) {
        const next = await iterator.next();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }
  return { head, whole: whole() };
};

const isZlibError = (error: unknown): boolean =>
  error instanceof Error && "code" in error && typeof error.code === "string" && /^(Z_|ZSTD)/i.test(error.code);

async function* through(source: ByteSource, transform: Transform, what: string): AsyncGenerator<Uint8Array> {
  const pumping = pipeline(Readable.from(source, { objectMode: false }), transform);
  // The same failure also ends the loop below, which reports it.
  pumping.catch(() => undefined);
  try {
    yield* transform as AsyncIterable<Uint8Array>;
    await pumping;
  } catch (cause) {
    if (isFleetError(cause) || !isZlibError(cause)) throw cause;
    const said = cause instanceof Error ? cause.message : "it cannot be decompressed";
    throw fleetError("IMAGE_INVALID", `${what} is damaged: ${said}`, { cause });
  } finally {
    transform.destroy();
    await pumping.catch(() => undefined);
  }
}

async function* inflate(source: ByteSource, compression: Compression, what: string): AsyncGenerator<Uint8Array> {
  if (compression === "none") yield* source;
  else if (compression === "gzip") yield* through(source, createGunzip({ chunkSize }), what);
  else for await (const frame of zstdFrames(source)) yield* through(frame, createZstdDecompress({ chunkSize }), what);
}

/** Decompresses gzip or zstd, passes anything else on. Throws IMAGE_INVALID, and IMAGE_TOO_LARGE above `maxBytes`. */
export async function* decompress(
  source: ByteSource,
  options: { maxBytes: number; what: string },
): AsyncGenerator<Uint8Array> {
  const { head, whole } = await peek(source, 6);
  let bytes = 0;
  for await (const chunk of inflate(whole, compressionOf(head, options.what), options.what)) {
    bytes += chunk.byteLength;
    if (bytes > options.maxBytes) {
      throw fleetError("IMAGE_TOO_LARGE", `${options.what} is larger than ${options.maxBytes} bytes when decompressed`);
    }
    yield chunk;
  }
}
