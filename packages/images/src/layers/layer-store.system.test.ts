import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import type { Digest } from "@bulkhead/contracts";
import {
  corruptArchive,
  corruptArchives,
  type CorruptKind,
  layoutBytes,
  type LayoutBytes,
  MemoryFetcher,
} from "@bulkhead/testkit/images";
import { afterEach, beforeEach, expect, test } from "vitest";
import { importArchive } from "../archive/import.ts";
import { BlobStore } from "../blobs/blob-store.ts";
import { digestOf, hexOf } from "../digest.ts";
import type { BlobFetcher } from "../fetch/blob-fetcher.ts";
import { type TarHeader, tarEnd, tarEntry } from "../tar/tar-bytes.ts";
import { LayerStore } from "./layer-store.ts";

const execute = promisify(execFile);

let root = "";
let outside = "";
let images = "";
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "bh-layers-"));
  outside = join(root, "outside");
  images = join(root, "images");
  await mkdir(outside);
  await writeFile(join(outside, "secret"), "untouched");
});
afterEach(() => rm(root, { recursive: true, force: true }));

const open = () => LayerStore.open({ root: images, durable: false });

const tar = (...entries: readonly (readonly [Omit<TarHeader, "sizeBytes">, string?])[]): Buffer =>
  Buffer.concat([...entries.map(([header, content]) => tarEntry(header, content)), tarEnd]);
const file = (name: string, content = name): Buffer => tar([{ name }, content]);

const manifestOf = (layout: LayoutBytes): Digest => layout.manifestDigest;
const left = async () => [...(await readdir(join(images, "tmp"))), ...(await readdir(join(images, "work")))];
const layersOnDisk = () => readdir(join(images, "layers"));

test("an image is fetched and unpacked once, and its layers are shared by images and by a new process", async () => {
  const [base, one, two] = [file("base"), file("one"), file("two")];
  const first = layoutBytes({ layers: [base, one], config: { User: "app" } });
  const second = layoutBytes({ layers: [base, two] });
  const fetcher = new MemoryFetcher().add(first).add(second);
  const store = await open();
  const [a, b, again] = await Promise.all([
    store.ensureImage(manifestOf(first), fetcher),
    store.ensureImage(manifestOf(second), fetcher),
    store.ensureImage(manifestOf(first), fetcher),
  ]);
  expect(again).toEqual(a);
  expect(a.config.user).toBe("app");
  expect(a.layers).toHaveLength(2);
  expect(a.layers[1]).toBe(b.layers[1]);
  await expect(readFile(join(a.layers[0] ?? "", "one"), "utf8")).resolves.toBe("one");
  await expect(readFile(join(a.layers[1] ?? "", "base"), "utf8")).resolves.toBe("base");
  expect(fetcher.asked).toHaveLength(new Set(fetcher.asked).size);
  const offline = new MemoryFetcher();
  await expect((await open()).ensureImage(manifestOf(first), offline)).resolves.toEqual(a);
  expect(offline.asked).toEqual([]);
  await expect(left()).resolves.toEqual([]);
});

test("overlayfs shows the layers as the image means them", async () => {
  const lower = tar(
    [{ name: "etc/", type: "5", mode: 0o755 }],
    [{ name: "etc/gone" }, "x"],
    [{ name: "etc/kept" }, "lower"],
    [{ name: "opaque/", type: "5", mode: 0o755 }],
    [{ name: "opaque/hidden" }, "x"],
  );
  const upper = tar(
    [{ name: "etc/.wh.gone" }],
    [{ name: "etc/own", uid: 7, gid: 8, mode: 0o4755 }, "upper"],
    [{ name: "opaque/.wh..wh..opq" }],
    [{ name: "opaque/seen" }, "y"],
  );
  const layout = layoutBytes({ layers: [lower, upper] });
  const image = await (await open()).ensureImage(manifestOf(layout), new MemoryFetcher().add(layout));
  const merged = join(root, "merged");
  await mkdir(merged);
  const script = `mount -t overlay overlay -o lowerdir=${image.layers.join(":")} ${merged} && cd ${merged} && find . | sort && stat -c '%a %u %g' etc/own`;
  const { stdout } = await execute("unshare", ["-m", "sh", "-c", script]);
  expect(stdout.trim().split("\n")).toEqual([
    ".",
    "./etc",
    "./etc/kept",
    "./etc/own",
    "./opaque",
    "./opaque/seen",
    "4755 7 8",
  ]);
});

test("a layer that hides everything below ends the list, and a repeated layer is listed once", async () => {
  const [base, repeated] = [file("base"), file("repeated")];
  const opaque = tar([{ name: ".wh..wh..opq" }], [{ name: "only" }, "x"]);
  const layout = layoutBytes({ layers: [base, opaque, repeated, file("middle"), repeated] });
  const image = await (await open()).ensureImage(manifestOf(layout), new MemoryFetcher().add(layout));
  const names = await Promise.all(image.layers.map(async (path) => (await readdir(path)).join()));
  expect(names).toEqual(["repeated", "middle", "only"]);
});

test.each(Object.entries(corruptArchives).filter(([, { refusedAt }]) => refusedAt === "unpack"))(
  "a hostile layer is refused, and nothing of it stays: %s",
  async (kind, { refusedAt, ...expected }) => {
    expect(refusedAt).toBe("unpack");
    const blobs = await BlobStore.open({ root: join(root, "blobs") });
    const [image] = await importArchive(Readable.from([corruptArchive(kind as CorruptKind, { outside })]), blobs);
    const fetcher = { fetch: async (digest: Digest) => (await blobs.open(digest)).stream };
    const digest = image?.manifestDigest ?? digestOf("");
    const ensuring = (await open()).ensureImage(digest, fetcher);
    await expect(ensuring).rejects.toMatchObject({ code: "code" in expected ? expected.code : "" });
    await expect(readdir(outside)).resolves.toEqual(["secret"]);
    await expect(left()).resolves.toEqual([]);
    await expect(layersOnDisk()).resolves.toEqual([]);
  },
);

test.each(Object.entries(corruptArchives).filter(([, { refusedAt }]) => refusedAt === "contained"))(
  "a hostile layer stays inside its directory: %s",
  async (kind, { refusedAt }) => {
    expect(refusedAt).toBe("contained");
    const blobs = await BlobStore.open({ root: join(root, "blobs") });
    const [image] = await importArchive(Readable.from([corruptArchive(kind as CorruptKind, { outside })]), blobs);
    const fetcher = { fetch: async (digest: Digest) => (await blobs.open(digest)).stream };
    const { layers } = await (await open()).ensureImage(image?.manifestDigest ?? digestOf(""), fetcher);
    await expect(readdir(outside)).resolves.toEqual(["secret"]);
    await expect(readFile(join(outside, "secret"), "utf8")).resolves.toBe("untouched");
    const { stdout } = await execute("find", [layers[0] ?? "", "-type", "b", "-o", "-type", "c"]);
    expect(stdout).toBe("");
  },
);

test.each([
  ["manifest", ({ manifest }: LayoutBytes) => manifest],
  ["configuration", ({ config }: LayoutBytes) => config],
  ["layer", ({ layers }: LayoutBytes) => layers[0]],
])("a %s that arrives with other bytes is never used", async (_, pick) => {
  const layout = layoutBytes({ layers: [file("one")] });
  const fetcher = new MemoryFetcher().add(layout);
  const bytes = pick(layout) ?? Buffer.alloc(0);
  fetcher.blobs.set(digestOf(bytes), Buffer.alloc(bytes.byteLength, " "));
  const store = await open();
  await expect(store.ensureImage(manifestOf(layout), fetcher)).rejects.toMatchObject({ code: "IMAGE_DIGEST_MISMATCH" });
  await expect(layersOnDisk()).resolves.toEqual([]);
  await expect(left()).resolves.toEqual([]);
  fetcher.blobs.set(digestOf(bytes), bytes);
  await expect(store.ensureImage(manifestOf(layout), fetcher)).resolves.toMatchObject({ layers: [expect.any(String)] });
});

test("a layer that does not unpack to its diff id is refused", async () => {
  const layout = layoutBytes({ layers: [file("one")], diffIds: [digestOf("something else")] });
  const ensuring = (await open()).ensureImage(manifestOf(layout), new MemoryFetcher().add(layout));
  await expect(ensuring).rejects.toMatchObject({ code: "IMAGE_DIGEST_MISMATCH" });
  await expect(layersOnDisk()).resolves.toEqual([]);
});

test("limits hold on the host too", async () => {
  const layout = layoutBytes({ layers: [file("big", "x".repeat(10_000))] });
  const fetcher = new MemoryFetcher().add(layout);
  for (const limits of [{ maxLayerBytes: 5_000 }, { maxLayerEntries: 0 }]) {
    const store = await LayerStore.open({ root: images, durable: false, limits });
    await expect(store.ensureImage(manifestOf(layout), fetcher)).rejects.toMatchObject({ code: "IMAGE_TOO_LARGE" });
  }
  await expect(left()).resolves.toEqual([]);
});

test("an abort stops the work and leaves nothing", async () => {
  const layout = layoutBytes({ layers: [file("one"), file("two")] });
  const memory = new MemoryFetcher().add(layout);
  const stop = new AbortController();
  const stuck: BlobFetcher = {
    fetch: async (digest, signal) => {
      if (digest !== digestOf(layout.layers[1] ?? "")) return memory.fetch(digest);
      stop.abort(new Error("enough"));
      signal.throwIfAborted();
      return new Readable({ read: () => undefined, signal });
    },
  };
  const store = await open();
  await expect(store.ensureImage(manifestOf(layout), stuck, { signal: stop.signal })).rejects.toThrow("enough");
  await expect(left()).resolves.toEqual([]);
  await expect(store.ensureImage(manifestOf(layout), memory)).resolves.toMatchObject({
    manifestDigest: manifestOf(layout),
  });
});

test("without the unpacker the failure says what to do", async () => {
  const layout = layoutBytes({ layers: [file("one")] });
  const store = await LayerStore.open({ root: images, unpackerPath: join(root, "no-such-tool") });
  await expect(store.ensureImage(manifestOf(layout), new MemoryFetcher().add(layout))).rejects.toMatchObject({
    code: "SETUP_FAILED",
    message: expect.stringContaining("native build"),
  });
});

test("what a crash left is removed at the next start, and whole layers stay", async () => {
  const layout = layoutBytes({ layers: [file("one")] });
  await (await open()).ensureImage(manifestOf(layout), new MemoryFetcher().add(layout));
  const dead = "000000000000-1-1-left-by-a-crash";
  await mkdir(join(images, "work", dead, "fs", "deep"), { recursive: true });
  await writeFile(join(images, "tmp", dead), "half a blob");
  await open();
  await expect(left()).resolves.toEqual([]);
  await expect(layersOnDisk()).resolves.toEqual([hexOf(digestOf(file("one")))]);
});

test("a layer whose marker was damaged is made again", async () => {
  const layout = layoutBytes({ layers: [file("one")] });
  const fetcher = new MemoryFetcher().add(layout);
  const image = await (await open()).ensureImage(manifestOf(layout), fetcher);
  await writeFile(join(image.layers[0] ?? "", "..", "layer.json"), "{");
  await expect((await open()).ensureImage(manifestOf(layout), fetcher)).resolves.toEqual(image);
  await expect(readFile(join(image.layers[0] ?? "", "one"), "utf8")).resolves.toBe("one");
});
