import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { isFleetError } from "@bulkhead/contracts";
import { layoutBytes } from "@bulkhead/testkit/images";
import { array, assert, asyncProperty, constantFrom, nat, record } from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { BlobStore } from "../blobs/blob-store.ts";
import { tarEnd, tarEntry } from "../tar/tar-bytes.ts";
import { importArchive } from "./import.ts";

let root = "";
let store: BlobStore;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "bh-import-prop-"));
  store = await BlobStore.open({ root });
});
afterEach(() => rm(root, { recursive: true, force: true }));

const layer = Buffer.concat([tarEntry({ name: "file" }, "content"), tarEnd]);
const honest = layoutBytes({ layers: [layer, gzipSync(layer)], diffIds: [] });
const whole = layoutBytes({
  layers: honest.layers,
  diffIds: [layer, layer].map(
    (bytes) =>
      layoutBytes({ layers: [bytes] })
        .config.toString()
        .match(/sha256:[0-9a-f]{64}/)?.[0] ?? "",
  ),
});

const damage = record({
  kind: constantFrom("flip", "cut", "drop", "repeat"),
  at: nat(whole.archive.byteLength - 1),
  length: nat(600),
  bit: nat(7),
});

const damaged = (
  bytes: Buffer,
  { kind, at, length, bit }: { kind: string; at: number; length: number; bit: number },
) => {
  const from = at % Math.max(1, bytes.byteLength);
  if (kind === "cut") return bytes.subarray(0, from);
  if (kind === "drop") return Buffer.concat([bytes.subarray(0, from), bytes.subarray(from + length)]);
  if (kind === "repeat") return Buffer.concat([bytes.subarray(0, from + length), bytes.subarray(from)]);
  const copy = Buffer.from(bytes);
  if (from < copy.byteLength) copy.writeUInt8(copy.readUInt8(from) ^ (1 << bit), from);
  return copy;
};

const stored = async () => [...(await readdir(join(root, "tmp"))), ...(await readdir(join(root, "blobs", "sha256")))];

test("the archive that is damaged below is whole", async () => {
  await expect(importArchive(Readable.from([whole.archive]), store)).resolves.toMatchObject([
    { manifestDigest: whole.manifestDigest },
  ]);
});

test("however an archive is damaged, it is the same image or a typed refusal that leaves nothing", async () => {
  const pack = constantFrom(
    (bytes: Buffer) => bytes,
    (bytes: Buffer) => gzipSync(bytes, { level: 1 }),
    (bytes: Buffer) => zstdCompressSync(bytes),
  );
  await assert(
    asyncProperty(array(damage, { minLength: 1, maxLength: 3 }), pack, async (damages, compress) => {
      const bytes = damages.reduce(damaged, compress(whole.archive));
      const outcome = await importArchive(Readable.from([bytes]), store).catch((error: unknown) => error);
      const left = await stored();
      for (const digest of left) await store.deleteUnused(`sha256:${digest}` as typeof whole.manifestDigest, Infinity);
      // A flipped bit may fall on padding, on a name of the index, or on what no reader looks at.
      const fine = Array.isArray(outcome) && outcome.every((image) => image.manifestDigest === whole.manifestDigest);
      const refused = isFleetError(outcome) && /^IMAGE_(INVALID|DIGEST_MISMATCH|TOO_LARGE)$/.test(outcome.code);
      expect({ outcome: String(outcome), held: fine ? left.length > 0 : refused && left.length === 0 }).toMatchObject({
        held: true,
      });
    }),
    { numRuns: 300 },
  );
});
