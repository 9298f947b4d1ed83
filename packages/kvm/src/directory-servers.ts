import { existsSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { JailedProcess, JailedRun } from "@bulkhead/node";
import type { MachinePaths } from "./machine-paths.ts";
import type { SharedDirectory } from "./shared-directories.ts";

/** File with the place of a directory whose server ended, for which a run was ended: the next agent says so, too. */
const lossMarker = "server-lost";

/** A disk that takes no note of it leaves the run's end without its reason. */
export const noteLoss = ({ run }: MachinePaths, place: string): void => {
  try {
    writeFileSync(join(run, lossMarker), place);
  } catch {
    // It is ended all the same.
  }
};

/** null: none was lost */
export const lossOf = ({ run }: MachinePaths): string | null => {
  const marker = join(run, lossMarker);
  return existsSync(marker) ? readFileSync(marker, "utf8") : null;
};

/** PF_EXITING of the kernel's include/linux/sched.h. */
const exiting = 0x4;

/** Whether a process is on its way out: a monitor that ends takes its servers along, which are gone before it is. */
const isEnding = (pid: number | null): boolean => {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // Flags are field 9 of proc_pid_stat(5); the second is a name in parentheses, with anything in it.
    const flags = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[6]);
    return (flags & exiting) !== 0;
  } catch {
    return true;
  }
};

/** The directory that a server has changed its root to, in its jail. */
const servedBy = ({ pid }: JailedProcess): string | null => {
  try {
    return readlinkSync(`/proc/${pid}/root`);
  } catch {
    return null;
  }
};

/**
 * The file servers of a running machine. One that ends by itself leaves the guest's programs waiting for ever, and neither
 * QEMU nor the server of Debian 12 takes up again what it had open: `lost` is called for it, once.
 */
export class DirectoryServers implements Disposable {
  readonly #jailed: JailedRun;
  readonly #servers = new Map<string, JailedProcess>();

  constructor(jailed: JailedRun, shared: readonly SharedDirectory[], lost: (directory: SharedDirectory) => void) {
    this.#jailed = jailed;
    const others = shared.length === 0 ? [] : jailed.others();
    for (const directory of shared) {
      const server = others.find((process) => servedBy(process) === directory.place);
      if (server === undefined) this.#miss(directory, lost);
      else {
        this.#servers.set(directory.place, server);
        void this.#await(server, directory, lost);
      }
    }
    const kept = new Set(this.#servers.values());
    for (const process of others) if (!kept.has(process)) process[Symbol.dispose]();
  }

  async #await(server: JailedProcess, directory: SharedDirectory, lost: (directory: SharedDirectory) => void) {
    await server.ended;
    if (this.#servers.delete(directory.place)) this.#miss(directory, lost);
  }

  #miss(directory: SharedDirectory, lost: (directory: SharedDirectory) => void): void {
    if (!isEnding(this.#jailed.pid)) lost(directory);
  }

  /** Ends one, which is no loss. Resolves when it has ended. */
  async end({ place }: SharedDirectory): Promise<void> {
    const server = this.#servers.get(place);
    this.#servers.delete(place);
    server?.kill();
    await server?.ended;
  }

  [Symbol.dispose](): void {
    for (const server of this.#servers.values()) server[Symbol.dispose]();
    this.#servers.clear();
  }
}
