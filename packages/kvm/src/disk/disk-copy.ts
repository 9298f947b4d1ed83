import { rename } from "node:fs/promises";
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
