import { lstat, mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Digest } from "@bulkhead/contracts";
import { layoutBytes, type LayoutBytes, MemoryFetcher } from "@bulkhead/testkit/images";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { digestOf, hexOf } from "../digest.ts";
import { type TarHeader, tarEnd, tarEntry } from "../tar/tar-bytes.ts";
import { LayerStore } from "./layer-store.ts";

let images = "";
beforeEach(async () => {
  images = await mkdtemp(join(tmpdir(), "bh-garbage-"));
});
afterEach(() => rm(images, { recursive: true, force: true }));

const open = () => LayerStore.open({ root: images, durable: false });

const tar = (...entries: readonly (readonly [Omit<TarHeader, "sizeBytes">, string?])[]): Buffer =>
  Buffer.concat([...entries.map(([header, content]) => tarEntry(header, content)), tarEnd]);
const file = (name: string, content = name): Buffer => tar([{ name }, content]);

const manifestOf = (layout: LayoutBytes): Digest => layout.manifestDigest;
const left = async () => [...(await readdir(join(images, "tmp"))), ...(await readdir(join(images, "work")))];
const layersOnDisk = () => readdir(join(images, "layers"));

test("garbage collection keeps what is in use or recent, and removes the rest", async () => {
  const [base, one, two] = [file("base"), file("one"), file("two")];
  const kept = layoutBytes({ layers: [base, one] });
  const dropped = layoutBytes({ layers: [base, two] });
  const fetcher = new MemoryFetcher().add(kept).add(dropped);
  const store = await open();
  const image = await store.ensureImage(manifestOf(kept), fetcher);
  await store.ensureImage(manifestOf(dropped), fetcher);
  const inUse = new Set([manifestOf(kept)]);
  await expect(store.collectGarbage(inUse, { olderThanMs: 60_000 })).resolves.toEqual({ manifests: [], layers: [] });
  await expect(store.collectGarbage(inUse, { olderThanMs: -1 })).resolves.toEqual({
    manifests: [manifestOf(dropped)],
    layers: [digestOf(two)],
  });
  for (const path of image.layers) expect((await stat(path)).isDirectory()).toBe(true);
  await expect(readdir(join(images, "configs"))).resolves.toEqual([hexOf(digestOf(kept.config))]);
  await expect(store.collectGarbage(new Set(), { olderThanMs: -1 })).resolves.toMatchObject({ layers: { length: 2 } });
  await expect(layersOnDisk()).resolves.toEqual([]);
  await expect(left()).resolves.toEqual([]);
});

test("when an image in use cannot be read, nothing is collected", async () => {
  const [used, other] = [layoutBytes({ layers: [file("used")] }), layoutBytes({ layers: [file("other")] })];
  const store = await open();
  const fetcher = new MemoryFetcher().add(used).add(other);
  for (const layout of [used, other]) await store.ensureImage(manifestOf(layout), fetcher);
  const path = join(images, "manifests", hexOf(manifestOf(used)));
  await writeFile(path, "{}");
  await utimes(path, 0, 0);
  await expect(store.collectGarbage(new Set([manifestOf(used)]), { olderThanMs: -1 })).rejects.toMatchObject({
    code: "RUNTIME_FAILED",
  });
  await expect(layersOnDisk()).resolves.toHaveLength(2);
});

test("collecting beside running work takes what nobody uses and never what somebody does", async () => {
  const layouts = Array.from({ length: 6 }, (_, at) => layoutBytes({ layers: [file("base"), file(`own${at}`)] }));
  const used = layouts.slice(0, 3);
  const fetcher = new MemoryFetcher();
  for (const layout of layouts) fetcher.add(layout);
  const store = await open();
  const inUse = new Set(used.map(manifestOf));
  const stop = new AbortController();
  let removed = 0;
  const collector = (async () => {
    while (!stop.signal.aborted) removed += (await store.collectGarbage(inUse, { olderThanMs: 0 })).layers.length;
  })();
  for (let round = 0; round < 8; round += 1) {
    const before = removed;
    const made = await Promise.all(layouts.map((layout) => store.ensureImage(manifestOf(layout), fetcher)));
    for (const image of made.slice(0, used.length)) {
      for (const path of image.layers) expect((await lstat(path)).isDirectory()).toBe(true);
    }
    await vi.waitFor(() => expect(removed).toBeGreaterThan(before), 10_000);
  }
  stop.abort();
  await collector;
  await expect(left()).resolves.toEqual([]);
});

test("a tree deeper than any path is collected", async () => {
  const part = `${"d".repeat(200)}/`;
  // Three stages of 15 levels, each reached through a link: 9,000 bytes of path.
  const deep = tar(
    [{ name: `start/${part.repeat(15)}`, type: "5" }],
    [{ name: "a", type: "2", linkname: `start/${part.repeat(15)}` }],
    [{ name: `a/${part.repeat(15)}`, type: "5" }],
    [{ name: "b", type: "2", linkname: `a/${part.repeat(15)}` }],
    [{ name: `b/${part.repeat(15)}file` }, "x"],
  );
  const layout = layoutBytes({ layers: [deep] });
  const store = await open();
  await store.ensureImage(manifestOf(layout), new MemoryFetcher().add(layout));
  await expect(store.collectGarbage(new Set(), { olderThanMs: -1 })).resolves.toMatchObject({ layers: { length: 1 } });
  await expect(layersOnDisk()).resolves.toEqual([]);
});
