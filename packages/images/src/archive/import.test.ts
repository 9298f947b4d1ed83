import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { corruptArchive, corruptArchives, type CorruptKind, layoutBytes } from "@bulkhead/testkit/images";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { BlobStore } from "../blobs/blob-store.ts";
import { digestOf, hexOf } from "../digest.ts";
import { tarEnd, tarEntry } from "../tar/tar-bytes.ts";
import { importArchive } from "./import.ts";

let root = "";
let store: BlobStore;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "bh-import-"));
  store = await BlobStore.open({ root: join(root, "store") });
});
afterEach(() => rm(root, { recursive: true, force: true }));

const stored = async () => [
  ...(await readdir(join(root, "store", "tmp"))),
  ...(await readdir(join(root, "store", "blobs", "sha256"))),
];
const run = (bytes: Buffer, options: Parameters<typeof importArchive>[2] = {}) =>
  importArchive(Readable.from([bytes]), store, options);
const layer = (name: string, content = name): Buffer => Buffer.concat([tarEntry({ name }, content), tarEnd]);

test.each([
  ["plain", (bytes: Buffer) => bytes],
  ["gzip", (bytes: Buffer) => gzipSync(bytes)],
  ["zstd", (bytes: Buffer) => zstdCompressSync(bytes)],
])("an OCI layout is imported (%s) with everything it names", async (_, compress) => {
  const layout = layoutBytes({ layers: [layer("one"), layer("two")], names: ["app:1"], config: { User: "app" } });
  const [image, ...others] = await run(compress(layout.archive));
  expect(others).toEqual([]);
  expect(image).toMatchObject({
    manifestDigest: layout.manifestDigest,
    configDigest: digestOf(layout.config),
    names: ["app:1"],
    config: { user: "app", cmd: ["/bin/sh"] },
    layers: layout.layers.map((bytes) => ({
      digest: digestOf(bytes),
      diffId: digestOf(bytes),
      sizeBytes: bytes.byteLength,
    })),
  });
  for (const digest of [
    image?.manifestDigest,
    image?.configDigest,
    ...(image?.layers ?? []).map((one) => one.digest),
  ]) {
    await expect(store.has(digest ?? digestOf(""))).resolves.toBe(true);
  }
  await expect(readdir(join(root, "store", "tmp"))).resolves.toEqual([]);
});

const refused = Object.entries(corruptArchives).filter(([, { refusedAt }]) => refusedAt === "import");

test.each(refused)("a bad archive is refused and leaves nothing: %s", async (kind, { refusedAt, ...expected }) => {
  expect(refusedAt).toBe("import");
  const bytes = corruptArchive(kind as CorruptKind, { outside: "/nowhere" });
  await expect(run(bytes)).rejects.toMatchObject({ code: "code" in expected ? expected.code : "" });
  await expect(stored()).resolves.toEqual([]);
});

test("one image with two names is one image; two images are two", async () => {
  const first = layoutBytes({ layers: [layer("one")], names: ["app:1", "app:latest"] });
  const images = await run(first.archive);
  expect(images.map(({ names }) => names)).toEqual([["app:1", "app:latest"]]);
});

const blob = (bytes: Buffer): Buffer => tarEntry({ name: `blobs/sha256/${hexOf(digestOf(bytes))}` }, bytes);
const layoutOf = (index: unknown, blobs: readonly Buffer[]): Buffer =>
  Buffer.concat([
    ...blobs.map(blob),
    tarEntry({ name: "./index.json" }, JSON.stringify(index)),
    tarEntry({ name: "./oci-layout" }, '{"imageLayoutVersion":"1.0.0"}'),
    tarEnd,
  ]);
const describe = (bytes: Buffer, rest: object = {}) => ({
  mediaType: "application/vnd.oci.image.manifest.v1+json",
  digest: digestOf(bytes),
  size: bytes.byteLength,
  ...rest,
});

test("an index for several machines gives the linux/amd64 image, and attestations are no images", async () => {
  const ours = layoutBytes({ layers: [layer("ours")] });
  const theirs = layoutBytes({ layers: [layer("theirs")], platform: { os: "linux", architecture: "arm64" } });
  const inner = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      manifests: [
        describe(theirs.manifest, { platform: { os: "linux", architecture: "arm64" } }),
        describe(ours.manifest, { platform: { os: "linux", architecture: "amd64" } }),
        describe(theirs.manifest, {
          platform: { os: "unknown", architecture: "unknown" },
          annotations: { "vnd.docker.reference.type": "attestation-manifest" },
        }),
      ],
    }),
  );
  const index = {
    schemaVersion: 2,
    manifests: [
      {
        ...describe(inner, { mediaType: "application/vnd.oci.image.index.v1+json" }),
        annotations: {
          "io.containerd.image.name": "docker.io/library/app:2",
          "org.opencontainers.image.ref.name": "2",
        },
      },
    ],
  };
  const images = await run(layoutOf(index, [inner, ours.manifest, ours.config, ...ours.layers]));
  expect(images).toMatchObject([{ manifestDigest: ours.manifestDigest, names: ["docker.io/library/app:2"] }]);
});

test("an index that holds itself is refused", async () => {
  // A digest cannot name itself, so the cycle is a chain deeper than any honest one.
  let bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [] }));
  const blobs = [bytes];
  for (let depth = 0; depth < 6; depth += 1) {
    const entry = describe(bytes, { mediaType: "application/vnd.oci.image.index.v1+json" });
    bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
    blobs.push(bytes);
  }
  const entry = describe(bytes, { mediaType: "application/vnd.oci.image.index.v1+json" });
  await expect(run(layoutOf({ schemaVersion: 2, manifests: [entry] }, blobs))).rejects.toMatchObject({
    code: "IMAGE_INVALID",
    message: expect.stringContaining("nests"),
  });
});

const configOf = (layers: readonly Buffer[]): Buffer =>
  Buffer.from(
    JSON.stringify({ architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: layers.map(digestOf) } }),
  );

test("docker save's older form is imported: links for shared layers, several images, layers as they are", async () => {
  const [one, two] = [layer("one"), layer("two")];
  const [first, second] = [configOf([one]), configOf([one, two])];
  const manifest = [
    { Config: "first.json", RepoTags: ["app:1"], Layers: ["aaa/layer.tar"] },
    { Config: "second.json", RepoTags: ["app:2", "app:latest"], Layers: ["bbb/layer.tar", "ccc/layer.tar"] },
  ];
  const archive = Buffer.concat([
    tarEntry({ name: "aaa/layer.tar" }, one),
    tarEntry({ name: "bbb/layer.tar", type: "2", linkname: "../aaa/layer.tar" }),
    tarEntry({ name: "ccc/layer.tar" }, two),
    tarEntry({ name: "first.json" }, first),
    tarEntry({ name: "second.json" }, second),
    tarEntry({ name: "manifest.json" }, JSON.stringify(manifest)),
    tarEnd,
  ]);
  const images = await run(archive);
  expect(images.map(({ names, layers }) => [names, layers.map(({ digest }) => digest)])).toEqual([
    [["app:1"], [digestOf(one)]],
    [
      ["app:2", "app:latest"],
      [digestOf(one), digestOf(two)],
    ],
  ]);
  const made = JSON.parse((await store.read(images[0]?.manifestDigest ?? digestOf(""), 10_000)).toString());
  expect(made).toMatchObject({
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar", digest: digestOf(one) }],
  });
  await expect(run(archive)).resolves.toEqual(images);
});

test("docker save's newer form, which is an OCI layout too, keeps its tags", async () => {
  const layout = layoutBytes({ layers: [layer("one")], names: ["latest"] });
  const manifest = [
    {
      Config: `blobs/sha256/${hexOf(digestOf(layout.config))}`,
      RepoTags: ["example/app:latest"],
      Layers: layout.layers.map((bytes) => `blobs/sha256/${hexOf(digestOf(bytes))}`),
    },
  ];
  const archive = Buffer.concat([tarEntry({ name: "manifest.json" }, JSON.stringify(manifest)), layout.archive]);
  await expect(run(archive)).resolves.toMatchObject([
    { manifestDigest: layout.manifestDigest, names: ["example/app:latest"] },
  ]);
});

test.each([
  ["a missing layer", [], "not in the archive"],
  [
    "a link out of the archive",
    [tarEntry({ name: "l", type: "2", linkname: "../../etc/passwd" })],
    "not in the archive",
  ],
  ["links in a circle", [tarEntry({ name: "l", type: "2", linkname: "l" })], "not in the archive"],
  ["a layer with other content", [tarEntry({ name: "l" }, layer("other"))], "unpacks to|digest"],
])("a docker-archive with %s is refused", async (_, entries, said) => {
  const archive = Buffer.concat([
    ...entries,
    tarEntry({ name: "c.json" }, configOf([layer("one")])),
    tarEntry({ name: "manifest.json" }, JSON.stringify([{ Config: "c.json", RepoTags: null, Layers: ["l"] }])),
    tarEnd,
  ]);
  await expect(run(archive)).rejects.toMatchObject({
    code: expect.stringMatching(/^IMAGE_/),
    message: expect.stringMatching(said),
  });
  await expect(stored()).resolves.toEqual([]);
});

test("an unpacked layout is read, but no link out of it", async () => {
  const layout = layoutBytes({ layers: [layer("one")] });
  const directory = join(root, "layout");
  await mkdir(join(directory, "blobs", "sha256"), { recursive: true });
  const entry = describe(layout.manifest);
  await writeFile(join(directory, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  await writeFile(join(directory, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
  for (const bytes of [layout.manifest, layout.config]) {
    await writeFile(join(directory, "blobs", "sha256", hexOf(digestOf(bytes))), bytes);
  }
  const outside = join(root, "outside");
  const inLayout = join(directory, "blobs", "sha256", hexOf(digestOf(layout.layers[0] ?? Buffer.alloc(0))));
  await writeFile(outside, layout.layers[0] ?? "");
  await symlink(outside, inLayout);
  await expect(importArchive(directory, store)).rejects.toMatchObject({ code: "IMAGE_INVALID" });
  await rm(inLayout);
  await writeFile(inLayout, layout.layers[0] ?? "");
  await expect(importArchive(directory, store)).resolves.toMatchObject([{ manifestDigest: layout.manifestDigest }]);
});

test.each([
  ["bytes of the archive", { maxArchiveBytes: 2000 }],
  ["entries", { maxArchiveEntries: 2 }],
  ["bytes of a document", { maxDocumentBytes: 50 }],
  ["layers", { maxLayers: 1 }],
  ["images", { maxImages: 0 }],
])("the limit on %s holds", async (_, limits) => {
  const layout = layoutBytes({ layers: [layer("one"), layer("two")] });
  await expect(run(layout.archive, { limits })).rejects.toMatchObject({ code: "IMAGE_TOO_LARGE" });
  await expect(stored()).resolves.toEqual([]);
});

test("a layer that inflates beyond the limit is refused", async () => {
  const plain = Buffer.alloc(4_000_000);
  const packed = gzipSync(plain);
  const diffId = `sha256:${createHash("sha256").update(plain).digest("hex")}`;
  const layout = layoutBytes({ layers: [packed], diffIds: [diffId] });
  await expect(run(layout.archive, { limits: { maxLayerBytes: 1_000_000 } })).rejects.toMatchObject({
    code: "IMAGE_TOO_LARGE",
  });
});

test("a connection that breaks is not called a bad archive, and leaves nothing", async () => {
  const { archive } = layoutBytes({ layers: [layer("one", "x".repeat(100_000))] });
  const broken = Readable.from(
    (async function* () {
      yield archive.subarray(0, 20_000);
      throw new Error("the client went away");
    })(),
  );
  await expect(importArchive(broken, store)).rejects.toThrow("the client went away");
  await expect(stored()).resolves.toEqual([]);
});

test("a request whose archive is refused stays open, so that it can be answered", async () => {
  const source = new Readable({ read: () => undefined });
  source.push(Buffer.from("this is no archive\n".repeat(1000)));
  await expect(importArchive(source, store)).rejects.toMatchObject({ code: "IMAGE_INVALID" });
  expect(source.destroyed).toBe(false);
  source.destroy();
});

test("an import that is aborted stops and leaves nothing", async () => {
  const { archive } = layoutBytes({ layers: [layer("one", "x".repeat(100_000))] });
  const stop = new AbortController();
  const source = Readable.from(
    (async function* () {
      for (let at = 0; at < archive.byteLength; at += 10_000) {
        if (at === 50_000) stop.abort(new Error("enough"));
        yield archive.subarray(at, at + 10_000);
      }
    })(),
  );
  await expect(importArchive(source, store, { signal: stop.signal })).rejects.toThrow("enough");
  await expect(stored()).resolves.toEqual([]);
});

test("an abort ends an import whose sender says nothing more", async () => {
  const { archive } = layoutBytes({ layers: [layer("one", "x".repeat(100_000))] });
  const source = new Readable({ read: () => undefined });
  source.push(archive.subarray(0, 50_000));
  const stop = new AbortController();
  const importing = importArchive(source, store, { signal: stop.signal });
  await vi.waitFor(async () => expect(await stored()).not.toEqual([]));
  stop.abort(new Error("enough"));
  await expect(importing).rejects.toThrow("enough");
  await expect(stored()).resolves.toEqual([]);
  source.destroy();
});
