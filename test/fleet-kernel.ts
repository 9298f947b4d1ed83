import { execFileSync } from "node:child_process";
import { chownSync, globSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";

const readJson = (path: string): unknown => JSON.parse(readFileSync(path, "utf8"));

/** What the kernel and the host's own files say of a fleet, whatever its database believes. */
export class FleetKernel {
  readonly #state: string;
  readonly #run: string;

  constructor(stateDirectory: string, runDirectory: string) {
    this.#state = stateDirectory;
    this.#run = runDirectory;
  }

  /** Services by name, as `up` recorded them. */
  services(): Record<string, number> {
    const up = join(
      this.#run,
      `up-${createHash("sha256").update(this.#state).digest("hex").slice(0, 8)}`,
      "processes.json",
    );
    try {
      const processes = readJson(up) as readonly { name: string; pid: number }[];
      return Object.fromEntries(processes.map(({ name, pid }) => [name, pid]));
    } catch {
      // Written anew this moment, or not yet.
      return {};
    }
  }

  isAlive(pid: number): boolean {
    try {
      return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
    } catch {
      return false;
    }
  }

  /** Host pid of an instance's first process, from the newest run's status file. */
  pidOfInstance(instanceId: string): number {
    const files = globSync(join(this.#run, "*/instances", instanceId, "*/status"));
    const newest = files.map((file) => ({ file, at: statSync(file).mtimeMs })).sort((a, b) => b.at - a.at)[0];
    if (newest === undefined) throw new Error(`no run of ${instanceId} below ${this.#run}`);
    return (readJson(newest.file) as { init: { pid: number } }).init.pid;
  }

  /** Host pid by instance name, from the records that the host keeps on disk. */
  pidOfName(name: string): number {
    for (const file of globSync(join(this.#state, "hosts/*/instances/*/runs/*.json"))) {
      const record = readJson(file) as { assignment: { name: string; instanceId: string } };
      if (record.assignment.name === name) return this.pidOfInstance(record.assignment.instanceId);
    }
    throw new Error(`no record of ${name} below ${this.#state}`);
  }

  /** Host pids of every living instance. */
  instancePids(): number[] {
    return globSync(join(this.#run, "*/instances/*/*/status"))
      .map((file) => (readJson(file) as { init: { pid: number } }).init.pid)
      .filter((pid) => this.isAlive(pid));
  }

  tracesOf(instanceId: string): string[] {
    const cgroups = globSync("/sys/fs/cgroup/**/bulkhead-*/**", { exclude: (path) => path.includes("devices/system") });
    return [
      ...cgroups.filter((path) => path.includes(instanceId)),
      ...globSync(join(this.#run, "*/instances", instanceId)),
      ...globSync(join(this.#state, "hosts/*/instances", instanceId)),
    ];
  }

  /** Copies a directory over another, keeping the owner that the old one had throughout. */
  async replaceDirectory(path: string, copy: string): Promise<void> {
    const { uid, gid } = statSync(path);
    rmSync(path, { recursive: true });
    execFileSync("cp", ["-a", copy, path]);
    const give = (entry: string): void => {
      chownSync(entry, uid, gid);
      if (statSync(entry).isDirectory()) for (const name of readdirSync(entry)) give(join(entry, name));
    };
    give(path);
  }
}
