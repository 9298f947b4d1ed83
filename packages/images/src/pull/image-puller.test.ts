import { FakeRegistry, registryImage, registryIndex } from "@bulkhead/testkit/images";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { digestOf } from "../digest.ts";
import { PullRig, layerOf } from "../testing/pull-rig.ts";

let registry: FakeRegistry;
let rig: PullRig;
beforeEach(async () => {
  registry = await FakeRegistry.start();
  rig = await PullRig.open();
});
afterEach(async () => {
  await registry[Symbol.asyncDispose]();
  await rig[Symbol.asyncDispose]();
});

const two = registryImage({ layers: [layerOf("a", 40), layerOf("b", 20)] });
const everything = [two.digest, ...two.blobs.keys()].sort();

describe("what is pulled", () => {
  test.each(["none", "gzip", "zstd"] as const)("layers compressed with %s arrive whole", async (compression) => {
    const image = registryImage({ layers: [layerOf("a", 40), layerOf("b")], compression, env: ["A=1"] });
    const pulled = await rig.pull(registry.add(image));
    expect(pulled).toMatchObject({ manifestDigest: image.digest, config: { env: ["A=1"] } });
    expect(pulled.layers.map(({ digest }) => digest)).toEqual(image.layers);
    expect(pulled.layers[0]?.diffId).toBe(digestOf(layerOf("a", 40)));
    expect(await rig.stored()).toEqual([image.digest, ...image.blobs.keys()].sort());
  });

  test("Docker's media types are read", async () => {
    const image = registryImage({ layers: [layerOf("a")], docker: true });
    expect((await rig.pull(registry.add(image))).manifestDigest).toBe(image.digest);
  });

  test("by digest it is asked for by digest, and must have it", async () => {
    const reference = registry.add(two, "team/app:1");
    const bare = reference.slice(0, reference.lastIndexOf(":"));
    expect((await rig.pull(`${bare}:old@${two.digest}`)).manifestDigest).toBe(two.digest);
    const other = `sha256:${"1".repeat(64)}`;
    registry.manifests.set(`team/app:${other}`, two.manifest);
    await expect(rig.pull(`${bare}@${other}`)).rejects.toMatchObject({ code: "IMAGE_DIGEST_MISMATCH" });
  });

  test("a second pull fetches no blob again", async () => {
    const reference = registry.add(two);
    await rig.pull(reference);
    const before = registry.asked("/blobs/").length;
    await rig.pull(reference);
    expect(registry.asked("/blobs/").length).toBe(before);
  });

  test("each layer is told of from waiting to ready", async () => {
    await rig.pull(registry.add(two));
    const [first, last] = [rig.progress.find(({ layers }) => layers.length > 0), rig.progress.at(-1)];
    expect(first?.layers.map(({ state, doneBytes }) => [state, doneBytes])).toEqual([
      ["waiting", 0],
      ["waiting", 0],
    ]);
    expect(last?.layers.map(({ state }) => state)).toEqual(["ready", "ready"]);
    expect(last?.layers.every(({ doneBytes, sizeBytes }) => doneBytes === sizeBytes)).toBe(true);
    const states = new Set(rig.progress.flatMap(({ layers }) => layers.map(({ state }) => state)));
    expect([...states]).toEqual(expect.arrayContaining(["waiting", "fetching", "verifying", "ready"]));
  });
});

describe("platforms", () => {
  const amd64 = { os: "linux", architecture: "amd64" };
  const arm64 = { os: "linux", architecture: "arm64", variant: "v8" };
  const foreign = registryImage({ layers: [layerOf("arm")], platform: { os: "linux", architecture: "arm64" } });

  test("ours is taken from an index, also a nested one; attestations are not images", async () => {
    const reference = registry.add(two);
    registry.add(foreign, "app:arm");
    const attestation = { "vnd.docker.reference.type": "attestation-manifest" };
    const index = registryIndex([
      { image: foreign, platform: { os: "unknown", architecture: "unknown" }, annotations: attestation },
      { image: foreign, platform: arm64 },
      { image: two, platform: amd64 },
    ]);
    registry.addDocument(index, "app:1");
    expect((await rig.pull(reference)).manifestDigest).toBe(two.digest);
    const inner = { manifest: index, digest: digestOf(index), mediaType: "application/vnd.oci.image.index.v1+json" };
    registry.addDocument(registryIndex([{ image: { ...inner, blobs: new Map(), layers: [] } }]), "app:1");
    expect((await rig.pull(reference)).manifestDigest).toBe(two.digest);
  });

  test("an index without ours says what it has", async () => {
    const reference = registry.add(foreign);
    registry.addDocument(registryIndex([{ image: foreign, platform: arm64 }]), "app:1");
    await expect(rig.pull(reference)).rejects.toMatchObject({
      code: "IMAGE_PLATFORM_MISSING",
      message: `${reference} has no image for linux/amd64; it has linux/arm64/v8.`,
    });
  });

  test("a single image for another machine says so before a layer is fetched", async () => {
    await expect(rig.pull(registry.add(foreign))).rejects.toMatchObject({
      code: "IMAGE_PLATFORM_MISSING",
      message: expect.stringContaining("it has linux/arm64"),
    });
    expect(registry.asked(foreign.layers[0] ?? "")).toHaveLength(0);
  });

  test("an index that names itself for ever is refused", async () => {
    const reference = registry.add(two);
    let index = registryIndex([{ image: two }]);
    for (let depth = 0; depth < 6; depth += 1) {
      registry.addDocument(index, "app:1");
      const image = { manifest: index, digest: digestOf(index), mediaType: "application/vnd.oci.image.index.v1+json" };
      index = registryIndex([{ image: { ...image, blobs: new Map(), layers: [] } }]);
    }
    registry.addDocument(index, "app:1");
    await expect(rig.pull(reference)).rejects.toMatchObject({ code: "IMAGE_INVALID" });
  });
});

describe("what is not an image", () => {
  test.each([
    [
      "a chart",
      {
        change: (m: object) => ({
          ...m,
          config: { ...(m as typeof withConfig).config, mediaType: "application/vnd.cncf.helm.config.v1+json" },
        }),
      },
      /no container image/,
    ],
    [
      "an encrypted layer",
      {
        change: (m: { layers: object[] }) => ({
          ...m,
          layers: m.layers.map((l) => ({ ...l, mediaType: "application/vnd.oci.image.layer.v1.tar+gzip+encrypted" })),
        }),
      },
      /encrypted/,
    ],
    ["both manifest and index", { change: (m: object) => ({ ...m, manifests: [] }) }, /both/],
    ["neither", { change: () => ({ schemaVersion: 2 }) }, /neither/],
    ["schema 1", { change: () => ({ schemaVersion: 1, fsLayers: [] }) }, /schema 1/],
    ["another number of layers than its configuration", { diffIds: [] as string[] }, /0 layers/],
  ])("%s is IMAGE_INVALID", async (_, parts, message) => {
    const image = registryImage({ layers: [layerOf("a")], ...(parts as object) });
    await expect(rig.pull(registry.add(image))).rejects.toMatchObject({
      code: "IMAGE_INVALID",
      message: expect.stringMatching(message),
    });
    expect(await rig.stored()).not.toContain(image.digest);
  });
});
const withConfig = { config: {} };

describe("shared work", () => {
  test("two pulls of one image at once ask for each blob once, and both hear of it", async () => {
    const reference = registry.add(two);
    const heard: string[][] = [[], []];
    const pulls = heard.map((steps) =>
      rig.puller.pull({
        reference,
        project: "default",
        signal: new AbortController().signal,
        onProgress: ({ step }) => steps.push(step),
      }),
    );
    const [first, second] = await Promise.all(pulls);
    expect(first).toEqual(second);
    for (const digest of two.blobs.keys()) expect(registry.asked(`/blobs/${digest}`)).toHaveLength(1);
    for (const steps of heard) expect(steps).toContain("storing");
  });

  test("two images, and two projects, with one layer fetch it once", async () => {
    const other = registryImage({ layers: [layerOf("a", 40), layerOf("c")] });
    const [shared] = two.layers;
    await Promise.all([
      rig.pull(registry.add(two)),
      rig.pull(registry.add(other, "other:1")),
      rig.pull(registry.add(two), { project: "blue" }),
    ]);
    expect(registry.asked(`/blobs/${shared}`)).toHaveLength(1);
    expect(await rig.stored()).toEqual(expect.arrayContaining([two.digest, other.digest]));
  });

  test("one that is given up does not stop the other", async () => {
    const reference = registry.add(two);
    let release = () => undefined as unknown;
    registry.intercept = (request, response) => {
      if (request.url?.includes(two.layers[0] ?? "-") !== true) return false;
      release = () => response.writeHead(200).end(two.blobs.get(two.layers[0] as never));
      return true;
    };
    const stop = new AbortController();
    const given = rig.pull(reference, { signal: stop.signal });
    const kept = rig.pull(reference);
    await expect.poll(() => registry.asked(two.layers[0] ?? "-").length).toBe(1);
    stop.abort(new Error("no more"));
    await expect(given).rejects.toThrow("no more");
    release();
    expect((await kept).manifestDigest).toBe(two.digest);
  });
});

test("everything that was pulled is there at the end", async () => {
  await rig.pull(registry.add(two));
  expect(await rig.stored()).toEqual(everything);
});
