import { lstat, rename } from "node:fs/promises";
import { fleetError } from "@bulkhead/contracts";
import { command } from "@bulkhead/images";

/**
 * Copies a disk with its holes; where the file system can, both share what they have in common. It is there whole or not
 * at all.
 */
export const copyDisk = async (from: string, to: string): Promise<void> => {
  const draft = `${to}.new`;
  await command("cp", ["--reflink=auto", "--sparse=always", "--no-dereference", from, draft]);
  await rename(draft, to);
};

/** What stat(2) counts a file's blocks in, whatever the file system. */
const statBlockBytes = 512;

/** What a file takes of the host's disk, and what it seems to have, in bytes. Rejects RUNTIME_FAILED for what is no file. */
export const diskUse = async (path: string): Promise<{ readonly takenBytes: number; readonly sizeBytes: number }> => {
  const found = await lstat(path);
  if (!found.isFile()) throw fleetError("RUNTIME_FAILED", `${path} is no file`);
  return { takenBytes: found.blocks * statBlockBytes, sizeBytes: found.size };
};
