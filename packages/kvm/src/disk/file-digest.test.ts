import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { mkdtempDisposable, open } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { digestOf } from "./file-digest.ts";

const mib = 2 ** 20;

/** The digest of a file with this content at these places, and zeros or holes elsewhere. */
const digested = async (sizeBytes: number, parts: readonly (readonly [at: number, content: Buffer])[]) => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-digest-");
  await using file = await open(join(directory.path, "file"), "w+");
  for (const [at, content] of parts) await file.write(content, 0, content.length, at);
  await file.truncate(sizeBytes);
  return await digestOf(file);
};

test("zeros and holes are the same, wherever a part begins and ends", async () => {
  const content = randomBytes(3 * mib + 12_345);
  const sparse = await digested(64 * mib, [[5 * mib + 4096, content]]);
  const written = await digested(64 * mib, [
    [0, Buffer.alloc(64 * mib)],
    [5 * mib + 4096, content],
  ]);
  expect(written).toBe(sparse);
});

test("a bit, a place and a length make another digest", async () => {
  const content = Buffer.alloc(mib, 7);
  const flipped = Buffer.from(content);
  flipped.writeUInt8(6, mib - 1);
  const digests = await Promise.all([
    digested(8 * mib, [[mib, content]]),
    digested(8 * mib, [[mib, flipped]]),
    digested(8 * mib, [[2 * mib, content]]),
    digested(8 * mib + 1, [[mib, content]]),
    digested(8 * mib, []),
    digested(0, []),
  ]);
  expect(new Set(digests).size).toBe(digests.length);
});

test("a reading says how far it is", async () => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-digest-");
  await using file = await open(join(directory.path, "file"), "w+");
  await file.write(Buffer.alloc(4 * mib, 7));
  const read: number[] = [];
  await digestOf(file, { onRead: (bytes) => void read.push(bytes) });
  expect(read[0]).toBe(mib);
});

test("what hangs is given up, and harms nobody when it fails in the end", async () => {
  await using directory = await mkdtempDisposable("/tmp/bulkhead-digest-");
  const path = join(directory.path, "pipe");
  execFileSync("mkfifo", [path]);
  // Who opens it to wait for it waits for a writer.
  const pipe = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  await expect(digestOf(pipe, { stallMs: 1000 })).rejects.toThrow("nothing of it came within 1 s");
  // With one the thread goes on, and finds that this is no file to be read from places.
  const writer = await open(path, constants.O_WRONLY | constants.O_NONBLOCK);
  await pipe.close();
  await writer.close();
  await using file = await open(join(directory.path, "file"), "w+");
  expect(await digestOf(file)).toMatch(/^[0-9a-f]{64}$/);
});

test("what cannot be read is said", async () => {
  await using directory = await open("/tmp");
  await expect(digestOf(directory)).rejects.toThrow("EISDIR");
});

test("a file of terabytes that is all holes is digested at once", async () => {
  expect(await digested(4 * 2 ** 40, [[2 ** 40, Buffer.from("x")]])).toMatch(/^[0-9a-f]{64}$/);
});
