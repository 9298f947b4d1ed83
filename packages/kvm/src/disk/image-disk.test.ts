import { existsSync } from "node:fs";
import { mkdir, mkdtempDisposable, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Digest } from "@bulkhead/contracts";
import type { EnsuredImage } from "@bulkhead/images";
import { expect, test } from "vitest";
import { ImageDisks } from "./image-disk.ts";

const digestOf = (letter: string) => `sha256:${letter.repeat(64)}` as Digest;
const imageOf = (letter: string, layers: readonly string[] = []): EnsuredImage =>
  ({ manifestDigest: digestOf(letter), layers }) as unknown as EnsuredImage;
const never = new AbortController().signal;

/** Disks of a host that has those of these images. */
const disksWith = async (...letters: string[]) => {
  const root = await mkdtempDisposable("/tmp/bulkhead-disks-");
  const disks = new ImageDisks(join(root.path, "disks"));
  await mkdir(join(root.path, "disks"));
  for (const letter of letters) await writeFile(disks.pathOf(digestOf(letter)), letter);
  return { disks, path: root.path, [Symbol.asyncDispose]: () => root[Symbol.asyncDispose]() };
};

test("who leaves does not take along the work that another waits for", async () => {
  await using at = await disksWith();
  // The work takes a while, and fails by itself: the last of its layers is not there.
  const layer = join(at.path, "layer");
  await mkdir(layer);
  const image = imageOf("a", [...Array<string>(500).fill(layer), join(at.path, "absent")]);
  const leaving = new AbortController();
  const ends = Promise.allSettled([at.disks.ensure(image, leaving.signal), at.disks.ensure(image, never)]);
  const names = () => readdir(join(at.path, "disks"));
  await expect.poll(names, { interval: 1, timeout: 10_000 }).toHaveLength(1);
  leaving.abort();
  // Nor does a collection.
  await at.disks.collect(new Set());
  const [first, second] = await ends;
  expect(first).toMatchObject({ status: "rejected", reason: { name: "AbortError" } });
  expect(second).toMatchObject({ status: "rejected", reason: { code: "ENOENT", path: join(at.path, "absent") } });
  expect(await names()).toEqual([]);
});

test("a disk that somebody has just asked for is kept until the next collection but one", async () => {
  await using at = await disksWith("a", "b", "c");
  const path = await at.disks.ensure(imageOf("a"), never);
  await at.disks.collect(new Set([digestOf("b")]));
  const names = () => readdir(join(at.path, "disks"));
  expect([existsSync(path), (await names()).length]).toEqual([true, 2]);
  await at.disks.collect(new Set([digestOf("b")]));
  expect([existsSync(path), (await names()).length]).toEqual([false, 1]);
});

test("a disk that is asked for while others go is there, or is made", async () => {
  await using at = await disksWith("a", "b", "c", "d", "e", "f", "g", "h");
  const collecting = at.disks.collect(new Set());
  const path = await at.disks.ensure(imageOf("h"), never);
  expect(existsSync(path)).toBe(true);
  await collecting;
  expect(await readdir(join(at.path, "disks"))).toEqual([`${digestOf("h").replace(":", "-")}.ext4`]);
});
