import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { defaultMounts } from "./default-mounts.ts";
import { providedFiles } from "./instance-files.ts";

/** fs/overlayfs: OVL_MAX_STACK */
const maxLayers = 500;

/**
 * Makes the lowest layer of every root file system, idempotently: the empty places of what is mounted in every instance.
 * Without it a start would make those that its image lacks, and copy the image's /etc up to do so, in the writable layer.
 */
export const openMountPoints = async (directory: string): Promise<void> => {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  // Below /dev and /sys a kernel file system brings its own directories.
  for (const { destination } of defaultMounts) {
    if (!/^\/.*\//.test(destination)) await mkdir(join(directory, destination), { recursive: true, mode: 0o755 });
  }
  await mkdir(join(directory, "etc"), { recursive: true, mode: 0o755 });
  for (const path of providedFiles) await writeFile(join(directory, path), "", { mode: 0o644 });
};

/** An image's layers, topmost first, on top of the mount points; an image of as many as overlay takes has its own. */
export const withMountPoints = (layers: readonly string[], directory: string): readonly string[] =>
  layers.length < maxLayers ? [...layers, directory] : layers;
