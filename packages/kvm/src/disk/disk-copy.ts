import { rename } from "node:fs/promises";
import { command } from "@bulkhead/images";

/** What stat(2) counts a file's blocks in, whatever the file system. */
export const statBlockBytes = 512;

const copied = async (reflink: "always" | "never", from: string, to: string): Promise<void> => {
  const draft = `${to}.new`;
  await command("cp", [`--reflink=${reflink}`, "--sparse=always", "--no-dereference", from, draft]);
  await rename(draft, to);
};

/** Makes a disk that shares all that it has in common with another; false where the file system cannot. */
export const shareDisk = (from: string, to: string): Promise<boolean> =>
  copied("always", from, to).then(
    () => true,
    () => false,
  );

/** Copies a disk with its holes, and shares nothing. It is there whole or not at all. */
export const copyWholeDisk = (from: string, to: string): Promise<void> => copied("never", from, to);

/**
 * Copies a disk with its holes; where the file system can, both share what they have in common, and the answer is true. It
 * is there whole or not at all.
 */
export const copyDisk = async (from: string, to: string): Promise<boolean> => {
  if (await shareDisk(from, to)) return true;
  await copyWholeDisk(from, to);
  return false;
};
