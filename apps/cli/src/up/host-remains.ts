import { readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { HostId, type Isolation } from "@bulkhead/contracts";
import { fleetError } from "@bulkhead/contracts/errors";
import {
  closeMountArea,
  HostNetworks,
  hostPaths,
  identityLives,
  readCgroups,
  type HostPaths,
  type ProcessIdentity,
} from "@bulkhead/host";
import { Value } from "typebox/value";
import type { Layout } from "./settings.ts";

/** A killed process is gone in milliseconds, unless the machine swaps; in milliseconds. */
const endMs = 20_000;
const pollMs = 20;

const entries = async (directory: string): Promise<string[]> => readdir(directory).catch(() => []);

/** Every host whose state lies here (tests run several on one machine, each with its own state). */
const hostsOf = async (layout: Layout): Promise<Record<Isolation, HostPaths>[]> =>
  (await entries(join(layout.state, "hosts")))
    .filter((name): name is HostId => Value.Check(HostId, name))
    .map((hostId) => ({
      container: hostPaths(layout.state, layout.run, hostId, "container"),
      vm: hostPaths(layout.state, layout.run, hostId, "vm"),
    }));

/** Directories called `bulkhead-<hash>` in a hierarchy, wherever the agent's own cgroup was. */
const cgroupsNamed = async (directory: string, name: string): Promise<string[]> => {
  const found: string[] = [];
  for (const entry of await readdir(directory, { withFileTypes: true }).catch(() => [])) {
    if (!entry.isDirectory()) continue;
    const path = join(directory, entry.name);
    if (entry.name === name) found.push(path);
    else found.push(...(await cgroupsNamed(path, name)));
  }
  return found;
};

const processesBelow = async (cgroup: string): Promise<number[]> => {
  const own = (await readFile(join(cgroup, "cgroup.procs"), "utf8").catch(() => "")).split("\n").filter(Boolean);
  const below: number[] = [];
  for (const entry of await readdir(cgroup, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) below.push(...(await processesBelow(join(cgroup, entry.name))));
  }
  return [...own.map(Number), ...below];
};

/** A frozen group does not die of SIGKILL on v1 until it is thawed. */
const thaw = async (cgroup: string): Promise<void> => {
  for (const entry of await readdir(cgroup, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) await thaw(join(cgroup, entry.name));
  }
  await writeFile(join(cgroup, "freezer.state"), "THAWED", { flag: "r+" }).catch(() => undefined);
  await writeFile(join(cgroup, "cgroup.freeze"), "0", { flag: "r+" }).catch(() => undefined);
};

const kill = (pid: number): void => {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
};

/** Waits until `left` answers nothing more. Throws RUNTIME_FAILED naming what stays. */
const until = async (left: () => Promise<readonly string[]>): Promise<void> => {
  const deadline = performance.now() + endMs;
  for (;;) {
    const names = await left();
    if (names.length === 0) return;
    if (performance.now() > deadline) throw fleetError("RUNTIME_FAILED", `These do not end: ${names.join(", ")}.`);
    await delay(pollMs);
  }
};

const shimsOf = async (paths: HostPaths): Promise<ProcessIdentity[]> => {
  const shims: ProcessIdentity[] = [];
  for (const instance of await entries(paths.runInstances)) {
    for (const run of await entries(join(paths.runInstances, instance))) {
      const text = await readFile(join(paths.runInstances, instance, run, "status"), "utf8").catch(() => "");
      try {
        shims.push((JSON.parse(text) as { shim: ProcessIdentity }).shim);
      } catch {
        // A run that was being made when everything ended has no status, and no process either.
      }
    }
  }
  return shims;
};

const removeTree = async (cgroup: string): Promise<void> => {
  for (const entry of await readdir(cgroup, { withFileTypes: true }).catch(() => [])) {
    if (entry.isDirectory()) await removeTree(join(cgroup, entry.name));
  }
  await rmdir(cgroup).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") throw error;
  });
};

/** Ends what one of the host's agents started. */
const endRuns = async (paths: HostPaths): Promise<number> => {
  const mounts = [...new Set(readCgroups().hierarchies.map(({ mountPoint }) => mountPoint))];
  const cgroups = (await Promise.all(mounts.map((mount) => cgroupsNamed(mount, paths.cgroups)))).flat();
  const shims = (await shimsOf(paths)).filter(identityLives);
  for (const cgroup of cgroups) await thaw(cgroup);
  for (const cgroup of cgroups) for (const pid of await processesBelow(cgroup)) kill(pid);
  await until(async () => (await Promise.all(cgroups.map(processesBelow))).flat().map((pid) => `process ${pid}`));
  // A shim ends when its child has: it only writes the exit status.
  await until(async () => shims.filter(identityLives).map(({ pid }) => `shim ${pid}`));
  for (const cgroup of cgroups) await removeTree(cgroup);
  return shims.length;
};

const endHost = async ({ container, vm }: Readonly<Record<Isolation, HostPaths>>): Promise<number> => {
  const ended = (await endRuns(container)) + (await endRuns(vm));
  await closeMountArea(container.runShares);
  await closeMountArea(container.runDisks);
  await using networks = new HostNetworks({ hash: container.hash, runDir: container.run, isolation: "container" });
  await networks.end();
  await rm(container.run, { recursive: true, force: true });
  return ended;
};

/**
 * Ends every instance of the hosts whose state lies here, by the cgroups that carry these hosts' hash and no others,
 * and removes those cgroups, the hosts' networks and their per-boot directories. Answers how many runs it ended.
 */
export const endInstances = async (layout: Layout): Promise<number> => {
  let ended = 0;
  for (const paths of await hostsOf(layout)) ended += await endHost(paths);
  return ended;
};
