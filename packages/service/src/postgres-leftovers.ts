import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

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

/** How long a killed server may wait for its parent to take note of its end, in milliseconds. */
const reapedMs = 10_000;
const pollMs = 10;

/**
 * Waits until a killed server is reaped. As a zombie it still answers kill(2), so the next server would take it for a
 * living one and refuse the data directory. Resolves at the deadline too: a living server is for Postgres to report.
 */
export const waitReaped = async (dataDir: string): Promise<void> => {
  const pid = (await readFile(join(dataDir, "postmaster.pid"), "utf8").catch(() => "")).split("\n")[0] ?? "";
  if (!/^[0-9]+$/.test(pid)) return;
  const deadline = performance.now() + reapedMs;
  while (performance.now() < deadline) {
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    if (!/^State:\s+[ZX]/m.test(status)) return;
    await delay(pollMs);
  }
};
