import { readdir, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FakeRegistry, registryImage, sendRange } from "@bulkhead/testkit/images";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { collectBlobs } from "../blobs/collect-blobs.ts";
import { PartialBlobs } from "../blobs/partial-blobs.ts";
import { hexOf } from "../digest.ts";
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

const image = registryImage({ layers: [layerOf("a", 64), layerOf("b", 8)], compression: "none" });
const [layer = image.digest, second = image.digest] = image.layers;
const bytes = image.blobs.get(layer) ?? Buffer.alloc(0);

const partialFiles = () => readdir(join(rig.directory, "partial"));

describe("what has arrived", () => {
  test("is kept over a failed pull, and only the rest is fetched", async () => {
    const reference = registry.add(image);
    registry.intercept = (request, response) => {
      if (request.url?.includes(layer) !== true) return false;
      if (request.headers.range !== undefined) response.writeHead(500).end();
      else response.writeHead(200).write(bytes.subarray(0, 30_000), () => response.socket?.destroy());
      return true;
    };
    await expect(rig.pull(reference)).rejects.toMatchObject({ code: "REGISTRY_UNAVAILABLE" });
    expect(await partialFiles()).toContain(hexOf(layer));
    registry.intercept = () => false;
    const before = registry.asked(layer).length;
    await rig.pull(reference);
    const ranges = registry
      .asked(layer)
      .slice(before)
      .map(({ headers }) => headers.range);
    expect(ranges).toEqual([expect.stringMatching(/^bytes=[1-9]\d*-$/)]);
    expect(await partialFiles()).toEqual([]);
    expect(await rig.blobs.read(layer, 2 ** 20)).toEqual(bytes);
  });

  test("is taken over from a process that was killed", async () => {
    // Owner of a name: boot, pid, start time. Pid 0 is never alive.
    const boot = await bootOf(rig.directory);
    await writeFile(join(rig.directory, "partial", `${hexOf(layer)}.${boot}-0-1-x`), bytes.subarray(0, 20_000));
    await rig.pull(registry.add(image));
    expect(registry.asked(layer).map(({ headers }) => headers.range)).toEqual(["bytes=20000-"]);
  });

  test("when it is wrong costs one more fetch, not the image", async () => {
    await writeFile(join(rig.directory, "partial", hexOf(layer)), Buffer.alloc(20_000, "poison"));
    expect((await rig.pull(registry.add(image))).manifestDigest).toBe(image.digest);
    expect(registry.asked(layer).map(({ headers }) => headers.range)).toEqual(["bytes=20000-", undefined]);
  });

  test("when it is more than the blob is dropped", async () => {
    await writeFile(join(rig.directory, "partial", hexOf(layer)), Buffer.alloc(bytes.byteLength + 1));
    await rig.pull(registry.add(image));
    expect(registry.asked(layer).map(({ headers }) => headers.range)).toEqual([undefined]);
  });

  test("when it is whole is not fetched again", async () => {
    await writeFile(join(rig.directory, "partial", hexOf(layer)), bytes);
    await rig.pull(registry.add(image));
    expect(registry.asked(layer)).toHaveLength(0);
  });

  test("and is not come back for goes with the sweep; what is young stays", async () => {
    const partial = join(rig.directory, "partial", hexOf(layer));
    await writeFile(partial, "old");
    const old = new Date(Date.now() - 3_600_000);
    await utimes(partial, old, old);
    await writeFile(join(rig.directory, "partial", hexOf(second)), "young");
    expect(await rig.puller.sweep({ olderThanMs: 60_000 })).toBe(1);
    expect(await partialFiles()).toEqual([hexOf(second)]);
  });
});

/** The boot part of the names that this process gives its unfinished files. */
const bootOf = async (root: string): Promise<string> => {
  const partials = await PartialBlobs.open(root);
  await using held = await partials.claim(second, 10);
  const [name = ""] = (await readdir(join(root, "partial"))).filter((found) => found.includes("."));
  expect(held.sizeBytes).toBe(0);
  await held.discard();
  return name.slice(name.indexOf(".") + 1).split("-")[0] ?? "";
};

describe("the sweep", () => {
  test("takes nothing that a pull in flight needs", async () => {
    await using own = await PullRig.open({}, { renewMs: 20 });
    // An image whose blobs are long known and belong to nobody any more.
    await own.pull(registry.add(image));
    const old = new Date(Date.now() - 86_400_000);
    const pathOf = (digest: typeof layer) => join(own.directory, "blobs/sha256", hexOf(digest));
    const bigger = registryImage({ layers: [layerOf("a", 64), layerOf("new", 8)], compression: "none" });
    const [, missing = image.digest] = bigger.layers;
    let release: (() => unknown) | undefined;
    registry.intercept = (request, response) => {
      if (request.url?.includes(missing) !== true) return false;
      release = () => sendRange(request, response, bigger.blobs.get(missing) ?? Buffer.alloc(0));
      return true;
    };
    const pulling = own.pull(registry.add(bigger, "bigger:1"));
    await expect.poll(() => release).toBeDefined();
    await utimes(pathOf(layer), old, old);
    await expect.poll(async () => (await own.blobs.stat(layer))?.modifiedMs ?? 0).toBeGreaterThan(old.getTime() + 1);
    await utimes(pathOf(second), old, old);
    expect(await collectBlobs(own.blobs, new Set(), { olderThanMs: 3_600_000 })).toEqual([second]);
    release?.();
    const pulled = await pulling;
    expect(await own.stored()).toEqual(expect.arrayContaining([...bigger.blobs.keys(), pulled.manifestDigest]));
  });

  test("or the one who touches a blob wins, never both", async () => {
    await rig.pull(registry.add(image));
    const old = new Date(Date.now() - 86_400_000);
    await utimes(join(rig.directory, "blobs/sha256", hexOf(layer)), old, old);
    const [touched, deleted] = await Promise.all([
      rig.blobs.touch(layer),
      rig.blobs.deleteUnused(layer, Date.now() - 3_600_000),
    ]);
    // Either may be the first; who is not told that it is there goes and fetches it.
    expect([deleted, await rig.blobs.has(layer)]).toEqual([!touched, touched]);
    await rig.pull(registry.add(image));
    expect(await rig.blobs.deleteUnused(layer, Date.now() + 1)).toBe(true);
    expect([await rig.blobs.touch(layer), await rig.blobs.has(layer)]).toEqual([false, false]);
  });

  test("a blob removed by hand during the pull fails it with advice", async () => {
    const reference = registry.add(image);
    await rig.pull(reference);
    registry.intercept = (request, response) => {
      if (request.url?.includes("/manifests/") !== true) return false;
      sendRange(request, response, image.manifest);
      return true;
    };
    const original = rig.blobs.put.bind(rig.blobs);
    rig.blobs.put = async (...put) => {
      await rig.blobs.deleteUnused(layer, Infinity);
      return original(...put);
    };
    await expect(rig.pull(reference)).rejects.toMatchObject({
      code: "REGISTRY_UNAVAILABLE",
      message: expect.stringMatching(/pull again/),
    });
  });
});

describe("mirrors", () => {
  const withMirrors = (...mirrors: string[]) =>
    PullRig.open({ settings: { registries: { [registry.host]: { mirrors } } } });

  test("are asked first, with their path, and the registry is not", async () => {
    await using mirror = await FakeRegistry.start();
    mirror.add(image, "cache/hub/app:1");
    const reference = `${registry.host}/app:1`;
    await using own = await withMirrors(`${mirror.url}/cache/hub/`);
    expect((await own.pull(reference)).manifestDigest).toBe(image.digest);
    expect(registry.requests).toHaveLength(0);
  });

  test("that lack it, refuse it, are not there or lie are passed over", async () => {
    await using lacking = await FakeRegistry.start();
    await using refusing = await FakeRegistry.start();
    await using lying = await FakeRegistry.start();
    const gone = await FakeRegistry.start();
    await gone[Symbol.asyncDispose]();
    refusing.intercept = (_, response) => {
      response.writeHead(403).end();
      return true;
    };
    lying.add(image);
    lying.blobs.set(layer, Buffer.alloc(bytes.byteLength));
    const reference = registry.add(image);
    await using own = await withMirrors(lacking.url, refusing.url, lying.url);
    expect((await own.pull(reference)).manifestDigest).toBe(image.digest);
    expect(lying.asked(layer)).toHaveLength(1);
    expect(registry.asked(layer)).toHaveLength(1);
    expect(await own.blobs.read(layer, 2 ** 20)).toEqual(bytes);
  });

  test("when none has it, all are named", async () => {
    await using mirror = await FakeRegistry.start();
    await using own = await withMirrors(mirror.url);
    await expect(own.pull(`${registry.host}/none:1`)).rejects.toMatchObject({
      code: "IMAGE_UNAVAILABLE",
      message: expect.stringContaining(`mirrors failed: ${mirror.url} answered 404`),
    });
  });
});
