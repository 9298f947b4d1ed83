import { existsSync } from "node:fs";
import { open, rename } from "node:fs/promises";
import { command } from "@bulkhead/images";

/** Makes a sparse file of `sizeBytes`. */
const makeSparse = async (path: string, sizeBytes: number): Promise<void> => {
  await using file = await open(path, "w", 0o600);
  await file.truncate(sizeBytes);
};

/**
 * The writable disk of an instance: an empty file system in a sparse file, so that it takes the host's space as it is
 * written and never more than its size. One that is there is left as it is.
 */
export const ensureScratchDisk = async (path: string, sizeBytes: number): Promise<void> => {
  if (existsSync(path)) return;
  const draft = `${path}.new`;
  await makeSparse(draft, sizeBytes);
  // Its tables are zeroes in a file that is all holes, and the guest need not write them again.
  await command("mke2fs", ["-q", "-F", "-t", "ext4", "-m", "0", "-E", "lazy_itable_init=1,nodiscard", draft]);
  await rename(draft, path);
};

/** A disk of one page, all zeroes: the least that every file system of a host takes as one. */
export const makeSmallDisk = (path: string): Promise<void> => makeSparse(path, 4096);
