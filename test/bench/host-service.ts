import type { ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { CgroupParents } from "@bulkhead/host";

const chargedAtSwitches = { v1: ["cpu", "cpuacct"], hybrid: ["cpu", "cpuacct", "unified"], v2: ["unified"] } as const;

/**
 * Where a host that runs containers has its managed processes: two levels deep, as systemd's
 * /system.slice/NAME.service, in the hierarchies whose levels are charged whenever processes are switched: those of cpu
 * and cpuacct, and the unified one, which keeps pressure (PSI) for each level.
 */
export class HostService implements AsyncDisposable {
  readonly #levels: readonly string[];

  private constructor(levels: readonly string[]) {
    this.#levels = levels;
  }

  /** Beside the agent's own cgroup, so that it is as deep as an instance. */
  static async make(parents: CgroupParents, name: string): Promise<HostService> {
    const levels: string[] = [];
    for (const controller of chargedAtSwitches[parents.mode]) {
      const parent = parents.paths[controller];
      if (parent === undefined) throw new Error(`no ${controller} hierarchy is mounted`);
      const slice = join(dirname(parent), `${name}.slice`);
      const service = join(slice, `${name}.service`);
      // Where one hierarchy has both controllers, both name the same place.
      if (existsSync(service)) continue;
      await mkdir(service, { recursive: true });
      levels.push(service, slice);
      if (parents.mode !== "v2") continue;
      await writeFile(join(slice, "cgroup.subtree_control"), "+cpu");
    }
    return new HostService(levels);
  }

  async take({ pid }: ChildProcess): Promise<void> {
    if (pid === undefined) throw new Error("the process was not started");
    for (const service of this.#levels.filter((level) => level.endsWith(".service"))) {
      await writeFile(join(service, "cgroup.procs"), String(pid));
    }
  }

  /** Its processes have ended before. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const level of this.#levels) await rmdir(level);
  }
}
