import { mkdir, mkdtempDisposable, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Digest } from "@bulkhead/contracts";
import { bzImageHead, kernelFiles } from "@bulkhead/testkit/images";
import { expect, test } from "vitest";
import { GuestKernels } from "./guest-kernel.ts";

const release = "6.1.0-9-test";
const digest = `sha256:${"ab".repeat(32)}` as Digest;
const modules = `lib/modules/${release}`;

/** A layer as it is unpacked, and a directory for what is made of it. */
const layerOf = async (changes: Readonly<Record<string, Buffer | string | null>> = {}) => {
  const directory = await mkdtempDisposable("/tmp/bulkhead-kernel-");
  const layer = join(directory.path, "layer");
  for (const [path, content] of Object.entries(kernelFiles(release, changes))) {
    await mkdir(dirname(join(layer, path)), { recursive: true });
    await writeFile(join(layer, path), content);
  }
  return { directory, layer, kernels: new GuestKernels(join(directory.path, "kernels")) };
};

test("what a machine boots is made of a layer, once", async () => {
  const { directory, layer, kernels } = await layerOf();
  await using _ = directory;
  expect(kernels.known(digest)).toBeUndefined();
  const kernel = await kernels.ofImage(digest, [layer]);
  expect(kernel.release).toBe(release);
  expect(await readFile(kernel.image)).toEqual(bzImageHead());
  const initramfs = (await readFile(kernel.initramfs)).toString("latin1");
  expect(initramfs).toContain("modules/00-overlay.ko");
  expect(initramfs).toContain("a module");
  await rm(layer, { recursive: true });
  expect(await kernels.known(digest)).toEqual(kernel);
});

test("one that is neither in use nor lately asked for goes, and is made again when it is", async () => {
  const { directory, layer, kernels } = await layerOf();
  await using _ = directory;
  const kernel = await kernels.ofImage(digest, [layer]);
  const kept = async () => readdir(dirname(dirname(kernel.image)));
  await kernels.collect(new Set([digest]));
  await kernels.collect(new Set());
  expect(await kept()).toHaveLength(1);
  await kernels.collect(new Set());
  expect(await kept()).toEqual([]);
  await kernels.ofImage(digest, [layer]);
  expect(await kept()).toHaveLength(1);
});

test.each<[string, Record<string, Buffer | string | null>, RegExp]>([
  ["no kernel", { [`boot/vmlinuz-${release}`]: null }, /has no file boot\/vmlinuz-RELEASE/],
  ["a corrupt kernel", { [`boot/vmlinuz-${release}`]: Buffer.alloc(4096) }, /neither a bzImage nor an ELF/],
  ["a module that is not there", { [`${modules}/kernel/fs/overlay.ko`]: null }, /has no file .*overlay\.ko/],
  ["a module that a guest needs", { [`${modules}/modules.builtin`]: "" }, /this kernel has no module virtio_mmio/],
  ["a path out of it", { [`${modules}/modules.dep`]: "../../../../../etc/overlay.ko:\n" }, /leads out of/],
])("%s is refused, and nothing of it stays", async (_name, changes, why) => {
  const { directory, layer, kernels } = await layerOf(changes);
  await using _ = directory;
  const refusal = { code: "KERNEL_INVALID", message: expect.stringMatching(why) as unknown };
  await expect(kernels.ofImage(digest, [layer])).rejects.toMatchObject(refusal);
  expect(await readdir(join(directory.path, "kernels/.registered"))).toEqual([]);
  expect(kernels.known(digest)).toBeUndefined();
});

test("no link is followed, neither of a file nor of a directory", async () => {
  const { directory, layer, kernels } = await layerOf();
  await using _ = directory;
  const refusal = { code: "KERNEL_INVALID" };
  const file = join(layer, modules, "kernel/fs/overlay.ko");
  await rm(file);
  await symlink("/etc/hostname", file);
  await expect(kernels.ofImage(digest, [layer])).rejects.toMatchObject(refusal);
  await rm(join(layer, modules, "kernel/fs"), { recursive: true });
  await symlink("/etc", join(layer, modules, "kernel/fs"));
  await expect(kernels.ofImage(digest, [layer])).rejects.toMatchObject(refusal);
});

test("an image of more layers than one is no kernel", async () => {
  const { directory, layer, kernels } = await layerOf();
  await using _ = directory;
  await expect(kernels.ofImage(digest, [layer, layer])).rejects.toMatchObject({ code: "KERNEL_INVALID" });
});
