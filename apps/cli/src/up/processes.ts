import { readFile, rename, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { fleetError } from "@bulkhead/contracts/errors";
import { identityLives, startTicksOf, type ProcessIdentity } from "@bulkhead/host";

export interface StartedProcess extends ProcessIdentity {
  readonly name: string;
}

/** How long a killed process may take to be gone, in milliseconds: a big one frees its memory first. */
const goneMs = 10_000;
const pollMs = 10;

/** The identity of a process of ours, or undefined when it has ended already. */
export const identityOf = (pid: number): ProcessIdentity | undefined => {
  try {
    return { pid, startTicks: startTicksOf(readFileSync(`/proc/${pid}/stat`, "utf8")) };
  } catch {
    return undefined;
  }
};

/** Remembers what this `up` started, for the next one, should this one be killed. */
export const writeProcesses = async (path: string, processes: readonly StartedProcess[]): Promise<void> => {
  await writeFile(`${path}.partial`, JSON.stringify(processes), { mode: 0o600 });
  await rename(`${path}.partial`, path);
};

const readProcesses = async (path: string): Promise<readonly StartedProcess[]> => {
  try {
    return JSON.parse(await readFile(path, "utf8")) as readonly StartedProcess[];
  } catch (error) {
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
};

const waitGone = async (processes: readonly StartedProcess[]): Promise<void> => {
  const deadline = performance.now() + goneMs;
  for (;;) {
    const left = processes.filter(identityLives);
    if (left.length === 0) return;
    if (performance.now() > deadline) {
      const names = left.map(({ name, pid }) => `${name} (pid ${pid})`).join(", ");
      throw fleetError("SETUP_FAILED", `An earlier fleet's ${names} cannot be ended; it hangs in the kernel.`);
    }
    await delay(pollMs);
  }
};

/**
 * Ends what a killed `up` left: by pid and start time, so a reused pid is never touched. Normally the kernel has done
 * it already (parent death signal). Returns the names of those that were still there.
 */
export const endLeftovers = async (path: string): Promise<string[]> => {
  const left = (await readProcesses(path)).filter(identityLives);
  for (const { pid } of left) {
    try {
      process.kill(pid, "SIGKILL");
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    }
  }
  await waitGone(left);
  return left.map(({ name }) => name);
};
