import { gzipSync, zstdCompressSync } from "node:zlib";
import { expect, test } from "vitest";
import { compressionOf, decompress, peek } from "./decompress.ts";

const text = Buffer.from("one two three four ".repeat(20_000));

async function* inChunks(bytes: Uint8Array, size = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += size) yield bytes.subarray(at, at + size);
}

const read = async (bytes: Uint8Array, options: { maxBytes?: number; chunk?: number } = {}): Promise<Buffer> => {
  const parts: Uint8Array[] = [];
  const source = inChunks(bytes, options.chunk);
  for await (const part of decompress(source, { maxBytes: options.maxBytes ?? 1e9, what: "x" })) parts.push(part);
  return Buffer.concat(parts);
};

const skippable = (content: Uint8Array): Buffer => {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a5e, 0);
  head.writeUInt32LE(content.byteLength, 4);
  return Buffer.concat([head, content]);
};

test.each([
  ["plain bytes", text],
  ["gzip", gzipSync(text)],
  ["gzip in two members", Buffer.concat([gzipSync(text.subarray(0, 5000)), gzipSync(text.subarray(5000))])],
  ["zstd", zstdCompressSync(text)],
  ["zstd in two frames", Buffer.concat([zstdCompressSync(text.subarray(0, 99)), zstdCompressSync(text.subarray(99))])],
  [
    "zstd with skippable frames around it",
    Buffer.concat([skippable(Buffer.alloc(300)), zstdCompressSync(text), skippable(Buffer.alloc(0))]),
  ],
])("%s are read whole, however they are cut", async (_, bytes) => {
  for (const chunk of [1, 7, 65_536]) expect((await read(bytes, { chunk })).equals(text)).toBe(true);
});

test("an empty source is empty", async () => {
  expect(await read(Buffer.alloc(0))).toHaveLength(0);
});

test.each([
  ["gzip cut short", gzipSync(text).subarray(0, -3)],
  ["gzip with a flipped byte", (() => Buffer.from(gzipSync(text)).fill(0, 40, 60))()],
  ["zstd cut short", zstdCompressSync(text).subarray(0, -3)],
  ["zstd followed by junk", Buffer.concat([zstdCompressSync(text), Buffer.from("junk")])],
  ["zstd of a reserved block type", Buffer.concat([zstdCompressSync(text).subarray(0, 6), Buffer.alloc(90, 0xff)])],
  ["bzip2", Buffer.from("BZh91AY&SY")],
  ["xz", Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0])],
])("%s is IMAGE_INVALID", async (_, bytes) => {
  await expect(read(bytes)).rejects.toMatchObject({ code: "IMAGE_INVALID" });
});

test.each([
  ["gzip", gzipSync(Buffer.alloc(50_000_000))],
  ["zstd", zstdCompressSync(Buffer.alloc(50_000_000))],
])("a %s bomb stops at the limit", async (_, bytes) => {
  await expect(read(bytes, { maxBytes: 1_000_000 })).rejects.toMatchObject({ code: "IMAGE_TOO_LARGE" });
});

test("what the source throws is passed on unchanged", async () => {
  const failure = new Error("the connection broke");
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield gzipSync(text).subarray(0, 100);
    throw failure;
  }
  const reading = async () => {
    for await (const part of decompress(broken(), { maxBytes: 1e9, what: "x" })) void part;
  };
  await expect(reading()).rejects.toBe(failure);
});

test("a reader who leaves early closes the source", async () => {
  let closed = false;
  async function* endless(): AsyncGenerator<Uint8Array> {
    try {
      for (;;) yield Buffer.alloc(1000);
    } finally {
      closed = true;
    }
  }
  for await (const part of decompress(endless(), { maxBytes: 1e9, what: "x" })) {
    expect(part.byteLength).toBeGreaterThan(0);
    break;
  }
  expect(closed).toBe(true);
});

test("peeking gives the head and then everything", async () => {
  const { head, whole } = await peek(inChunks(Buffer.from("abcdef"), 1), 3);
  expect(Buffer.from(head).toString()).toBe("abc");
  const parts: Uint8Array[] = [];
  for await (const part of whole) parts.push(part);
  expect(Buffer.concat(parts).toString()).toBe("abcdef");
  expect(compressionOf(Buffer.from("ab"), "x")).toBe("none");
});
