import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fleetError, isFleetError, maximumKernelBytes, type Digest } from "@bulkhead/contracts";
import { assertKernelHead, kernelHeadBytes, kernelLayout, type KernelFile } from "@bulkhead/images";
import { guestInitramfs } from "./initramfs.ts";
import type { GuestKernel } from "./kernel-files.ts";
import { fileTree, type FileTree } from "./module-tree.ts";

const names = async (root: string, directory: string): Promise<string[]> =>
  (await readdir(join(root, directory)).catch(() => [])).map((name) => `${directory}/${name}`);

/** The files of a layer that can be a kernel's; links and what lies behind them are none. */
const filesOf = async (root: string, tree: FileTree): Promise<KernelFile[]> => {
  const releases = (await Promise.all(["lib/modules", "usr/lib/modules"].map((path) => names(root, path)))).flat();
  const indexes = releases.flatMap((path) => [`${path}/modules.dep`, `${path}/modules.builtin`]);
  return [...(await names(root, "boot")), ...indexes].flatMap((path) => {
    const sizeBytes = tree.size(path);
    return sizeBytes === null ? [] : [{ path, sizeBytes }];
  });
};

/** What a host keeps of a registered kernel. */
const keptIn = (directory: string, release: string): GuestKernel => ({
  release,
  image: join(directory, "vmlinuz"),
  initramfs: join(directory, "initramfs"),
});

const write = async (root: string, draft: string): Promise<string> => {
  const tree = fileTree(root);
  const { release, image, modules } = kernelLayout(await filesOf(root, tree));
  assertKernelHead(image, tree.read(image, kernelHeadBytes));
  const kept = keptIn(draft, release);
  await writeFile(kept.image, tree.read(image, maximumKernelBytes), { mode: 0o644 });
  await writeFile(kept.initramfs, guestInitramfs(tree, modules), { mode: 0o644 });
  return release;
};

/**
 * Makes what a machine boots of an image's layers, which were verified by their digests. The registry has looked at it
 * before, and a host believes nobody. Rejects KERNEL_INVALID, KERNEL_TOO_LARGE.
 */
export const makeImageKernel = async (
  directory: string,
  digest: Digest,
  layers: readonly string[],
): Promise<GuestKernel> => {
  const [root, ...others] = layers;
  if (root === undefined || others.length > 0) {
    throw fleetError("KERNEL_INVALID", `An image of a kernel has one layer, not ${layers.length}.`);
  }
  await mkdir(dirname(directory), { recursive: true, mode: 0o755 });
  const draft = await mkdtemp(`${directory}.`);
  try {
    const release = await write(root, draft);
    // Whoever runs on an earlier one has it open.
    await rm(directory, { recursive: true, force: true });
    await rename(draft, directory);
    return keptIn(directory, release);
  } catch (cause) {
    if (isFleetError(cause)) throw cause;
    throw fleetError("KERNEL_INVALID", `Kernel ${digest} cannot be used: ${(cause as Error).message}`, { cause });
  } finally {
    await rm(draft, { recursive: true, force: true });
  }
};
