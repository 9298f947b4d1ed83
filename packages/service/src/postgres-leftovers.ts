import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/**
 * Frees the System V segment by which a killed server still guards its data directory: line 7 of `postmaster.pid` is
 * "key id". Only for a directory nobody will start again; the kernel frees the segment when the last user is gone.
 */
export const removeSharedMemory = async (dataDir: string): Promise<void> => {
  let text: string;
  try {
    text = await readFile(join(dataDir, "postmaster.pid"), "utf8");
  } catch (error) {
    // After an orderly stop the file is gone, and so is the segment.
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  const id = /^\s*[0-9]+\s+([0-9]+)\s*$/.exec(text.split("\n")[6] ?? "")?.[1];
  if (id === undefined) return;
  const remove = spawn("ipcrm", ["--shmem-id", id], { stdio: "ignore" });
  // Fails only when the segment is gone already, which is what is wanted.
  await once(remove, "close");
};
