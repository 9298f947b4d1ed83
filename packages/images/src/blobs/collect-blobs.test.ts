import { mkdtemp, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { layoutBytes } from "@bulkhead/testkit/images";
import { afterEach, beforeEach, expect, test } from "vitest";
import { importArchive } from "../archive/import.ts";
import { digestOf, hexOf } from "../digest.ts";
import { tarEnd, tarEntry } from "../tar/tar-bytes.ts";
import { BlobStore } from "./blob-store.ts";
import { collectBlobs } from "./collect-blobs.ts";

let root = "";
let store: BlobStore;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "bh-collect-"));
  store = await BlobStore.open({ root });
});
afterEach(() => rm(root, { recursive: true, force: true }));

const layer = (name: string): Buffer => Buffer.concat([tarEntry({ name }, name), tarEnd]);
const shared = layer("shared");
const kept = layoutBytes({ layers: [shared, layer("kept")] });
const gone = layoutBytes({ layers: [shared, layer("gone")] });

const importBoth = async () => {
  for (const { archive } of [kept, gone]) await importArchive(Readable.from([archive]), store);
};

/** Makes every blob look an hour old. */
const age = async () => {
  const then = new Date(Date.now() - 3_600_000);
  for await (const { digest } of store.list()) await utimes(join(root, "blobs", "sha256", hexOf(digest)), then, then);
};

test("blobs of images in use stay, shared ones too; the rest goes when it is old", async () => {
  await importBoth();
  const inUse = new Set([kept.manifestDigest]);
  await expect(collectBlobs(store, inUse, { olderThanMs: 60_000 })).resolves.toEqual([]);
  await age();
  const removed = await collectBlobs(store, inUse, { olderThanMs: 60_000 });
  expect(removed.toSorted()).toEqual([gone.manifestDigest, digestOf(gone.config), digestOf(layer("gone"))].toSorted());
  await expect(store.has(digestOf(shared))).resolves.toBe(true);
});

test("blobs that were imported again are young again", async () => {
  await importBoth();
  await age();
  await importArchive(Readable.from([gone.archive]), store);
  await expect(collectBlobs(store, new Set([kept.manifestDigest]), { olderThanMs: 60_000 })).resolves.toEqual([]);
});

test("a missing manifest that is in use stops the collection", async () => {
  await importBoth();
  await age();
  await store.deleteUnused(kept.manifestDigest, Infinity);
  const collecting = collectBlobs(store, new Set([kept.manifestDigest]), { olderThanMs: 0 });
  await expect(collecting).rejects.toMatchObject({ code: "RUNTIME_FAILED" });
  await expect(store.has(gone.manifestDigest)).resolves.toBe(true);
});
