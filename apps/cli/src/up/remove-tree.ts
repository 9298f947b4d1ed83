import { readdir, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/**
 * Removes a directory and everything in it. What is a mount point, the directory itself or one below, is emptied and
 * stays, with the directories above it: whoever mounted it unmounts it. Resolves when there is no such directory.
 */
export const removeTree = async (path: string): Promise<void> => {
  try {
    await rm(path, { recursive: true, force: true });
    return;
  } catch (error) {
    if (codeOf(error) !== "EBUSY") throw error;
  }
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const below = join(path, entry.name);
    if (entry.isDirectory()) await removeTree(below);
    else await rm(below, { force: true });
  }
  await rmdir(path).catch((error: unknown) => {
    if (!["EBUSY", "ENOTEMPTY"].includes(codeOf(error) ?? "")) throw error;
  });
};
