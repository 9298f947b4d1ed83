import { fleetError } from "@bulkhead/contracts";
import type { ByteSource } from "../blobs/staging.ts";

const frameMagic = 0xfd2fb528; // RFC 8878 section 3.1.1
const skippableMagic = 0x184d2a50; // RFC 8878 section 3.1.2; the low four bits are free

const damaged = (why: string): Error => fleetError("IMAGE_INVALID", `the zstd stream is damaged: ${why}`);

/** Takes bytes from a source in the portions that the format asks for. */
class Cursor {
  readonly #source: AsyncIterator<Uint8Array>;
  #chunk: Uint8Array = new Uint8Array(0);

  constructor(source: ByteSource) {
    this.#source = source[Symbol.asyncIterator]();
  }

  async #fill(): Promise<boolean> {
    while (this.#chunk.byteLength === 0) {
      const next = await this.#source.next();
      if (next.done === true) return false;
      this.#chunk = next.value;
    }
    return true;
  }

  /** Exactly `count` bytes in pieces as they come. */
  async *pieces(count: number): AsyncGenerator<Uint8Array> {
    while (count > 0) {
      if (!(await this.#fill())) throw damaged("it ends early");
      const piece = this.#chunk.subarray(0, count);
      this.#chunk = this.#chunk.subarray(piece.byteLength);
      count -= piece.byteLength;
      yield piece;
    }
  }

  async take(count: number): Promise<Buffer> {
    const parts: Uint8Array[] = [];
    for await (const piece of this.pieces(count)) parts.push(piece);
    return Buffer.concat(parts);
  }

  async atEnd(): Promise<boolean> {
    return !(await this.#fill());
  }

  async close(): Promise<void> {
    await this.#source.return?.();
  }
}

/** Bytes of the frame header after its magic number and descriptor (RFC 8878 section 3.1.1.1). */
const headerBytes = (descriptor: number): number => {
  const single = (descriptor >> 5) & 1;
  const contentSize = [single, 2, 4, 8][descriptor >> 6] ?? 0;
  const dictionary = [0, 1, 2, 4][descriptor & 3] ?? 0;
  return (single === 1 ? 0 : 1) + dictionary + contentSize;
};

async function* frame(cursor: Cursor, magic: Buffer): AsyncGenerator<Uint8Array> {
  const descriptor = await cursor.take(1);
  const flags = descriptor.readUInt8(0);
  yield Buffer.concat([magic, descriptor, await cursor.take(headerBytes(flags))]);
  for (let last = false; !last;) {
    const block = await cursor.take(3);
    const header = block.readUIntLE(0, 3);
    last = (header & 1) === 1;
    const type = (header >> 1) & 3;
    if (type === 3) throw damaged("a block has a reserved type");
    yield block;
    // A run-length block carries one byte whatever its size says.
    yield* cursor.pieces(type === 1 ? 1 : header >> 3);
  }
  if ((flags & 4) !== 0) yield* cursor.pieces(4);
}

/**
 * Splits a zstd stream into its frames, each to be read to its end before the next. Node's decompressor stops at the
 * end of the first frame without a word, while images are often written in several (zstd:chunked, pzstd).
 */
export async function* zstdFrames(source: ByteSource): AsyncGenerator<ByteSource> {
  const cursor = new Cursor(source);
  try {
    while (!(await cursor.atEnd())) {
      const magic = await cursor.take(4);
      const number = magic.readUInt32LE(0);
      if (number === frameMagic) {
        yield frame(cursor, magic);
      } else if ((number & 0xfffffff0) >>> 0 === skippableMagic) {
        const size = (await cursor.take(4)).readUInt32LE(0);
        for await (const piece of cursor.pieces(size)) void piece;
      } else {
        throw damaged("something else follows a frame");
      }
    }
  } finally {
    await cursor.close();
  }
}
