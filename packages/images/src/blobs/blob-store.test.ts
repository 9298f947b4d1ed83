import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { afterEach, beforeEach, expect, test } from "vitest";
import { digestOf, hexOf } from "../digest.ts";
import { BlobStore } from "./blob-store.ts";
import { unfinishedName } from "./owner.ts";

let root = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "bh-blobs-"));
});
afterEach(() => rm(root, { recursive: true, force: true }));

const hello = digestOf("hello");
const source = (content = "hello"): Readable => Readable.from([Buffer.from(content)]);
const leftovers = () => readdir(join(root, "tmp"));

test("what was put can be read, from anywhere in it", async () => {
  const store = await BlobStore.open({ root });
  await expect(store.has(hello)).resolves.toBe(false);
  await expect(store.put(hello, source())).resolves.toMatchObject({ digest: hello, sizeBytes: 5 });
  const { stream, sizeBytes } = await store.open(hello, { start: 2 });
  expect([await text(stream), sizeBytes]).toEqual(["llo", 5]);
  expect((await store.read(hello, 5)).toString()).toBe("hello");
  await expect(leftovers()).resolves.toEqual([]);
  await expect(store.deleteUnused(hello, Infinity)).resolves.toBe(true);
  await expect(store.deleteUnused(hello, Infinity)).resolves.toBe(false);
  await expect(store.open(hello)).rejects.toMatchObject({ code: "IMAGE_UNAVAILABLE" });
});

test("content with another digest is refused and leaves nothing", async () => {
  const store = await BlobStore.open({ root });
  await expect(store.put(hello, source("hell0"))).rejects.toMatchObject({ code: "IMAGE_DIGEST_MISMATCH" });
  await expect(store.has(hello)).resolves.toBe(false);
  await expect(leftovers()).resolves.toEqual([]);
});

test("content above the limit is refused and leaves nothing", async () => {
  const store = await BlobStore.open({ root, maxBlobBytes: 4 });
  await expect(store.put(hello, source())).rejects.toMatchObject({ code: "IMAGE_TOO_LARGE" });
  await expect(leftovers()).resolves.toEqual([]);
});

test("concurrent puts of one digest read one source", async () => {
  const store = await BlobStore.open({ root });
  let read = 0;
  const counted = (): Readable =>
    Readable.from(
      (async function* () {
        read += 1;
        yield Buffer.from("hello");
      })(),
    );
  const sources = [counted(), counted(), counted()];
  await Promise.all(sources.map((one) => store.put(hello, one)));
  expect(read).toBe(1);
  expect(sources.every((one) => one.destroyed)).toBe(true);
});

test("when the first of concurrent puts fails, the next one's source is read", async () => {
  const store = await BlobStore.open({ root });
  const broken = Readable.from(
    (async function* () {
      yield Buffer.from("hel");
      throw new Error("broken");
    })(),
  );
  const [first, second] = await Promise.allSettled([store.put(hello, broken), store.put(hello, source())]);
  expect([first.status, second.status]).toEqual(["rejected", "fulfilled"]);
});

test("a damaged blob is noticed when it is read, and healed by another put", async () => {
  const store = await BlobStore.open({ root });
  await store.put(hello, source());
  await writeFile(join(root, "blobs", "sha256", hexOf(hello)), "rotten");
  await expect(store.read(hello, 100)).rejects.toMatchObject({ code: "IMAGE_DIGEST_MISMATCH" });
  await store.put(hello, source());
  expect((await store.read(hello, 100)).toString()).toBe("hello");
});

test("the list names every blob and nothing else", async () => {
  const store = await BlobStore.open({ root });
  await store.put(hello, source());
  await writeFile(join(root, "blobs", "sha256", "README"), "not a blob");
  const names: string[] = [];
  for await (const { digest } of store.list()) names.push(digest);
  expect(names).toEqual([hello]);
});

test("opening removes what ended processes left and keeps what running ones write", async () => {
  await BlobStore.open({ root });
  const running = unfinishedName();
  // The same boot and process number, but another start: that process has ended.
  const ended = running.replace(/^([0-9a-f]+-\d+)-\d+-/, "$1-1-");
  const foreign = running.replace(/^[0-9a-f]+-/, "000000000000-");
  for (const name of [running, ended, foreign]) await writeFile(join(root, "tmp", name), "x");
  await BlobStore.open({ root });
  const left = await leftovers();
  expect(left.sort()).toEqual([foreign, running].sort());
});

test("an aborted put stops and leaves nothing", async () => {
  const store = await BlobStore.open({ root });
  const stop = new AbortController();
  const endless = Readable.from(
    (async function* () {
      for (let count = 0; ; count += 1) {
        if (count === 5) stop.abort(new Error("enough"));
        yield Buffer.alloc(1000);
      }
    })(),
  );
  await expect(store.put(hello, endless, { signal: stop.signal })).rejects.toThrow("enough");
  await expect(leftovers()).resolves.toEqual([]);
});

test("staged content that is gone fails whoever reads it, and nobody before", async () => {
  const store = await BlobStore.open({ root });
  await using staged = await store.stage(source(), { what: "it" });
  const read = staged.read();
  await rm(staged.path);
  // A stream that had been opened would have failed by now.
  await new Promise((resolve) => setImmediate(resolve));
  await expect(text(read)).rejects.toMatchObject({ code: "ENOENT" });
});
