import { readdirSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { CgroupParents } from "./cgroup-parents.ts";
import type { CgroupMode } from "./cgroups.ts";
import { formatCpuList, parseCpuList } from "./cpu-list.ts";

/** The cpuset directory of one living instance that may use shared CPUs, and the CPUs it should have. */
export interface CpusetMember {
  readonly path: string;
  readonly cpus: readonly number[];
}

const isGone = (error: unknown): boolean =>
  error instanceof Error && "code" in error && ["ENOENT", "ENODEV"].includes(String(error.code));

/** Name of the level below a host's cpuset parent that holds all instances without CPUs of their own. */
const groupName = "shared";

/** Directory of the shared instances in the hierarchy that has the cpuset controller, or null where none has. */
export const sharedCpusetGroup = (parents: CgroupParents): string | null => {
  if (!parents.controllers.has("cpuset")) return null;
  const parent = parents.paths[parents.mode === "v2" ? "unified" : "cpuset"];
  return parent === undefined ? null : join(parent, groupName);
};

/** cgroup paths of a run: in the hierarchy with the cpuset controller, shared instances lie in their common group. */
export const cgroupOfRun = (
  parents: CgroupParents,
  name: string,
  dedicated: boolean,
): Readonly<Record<string, string>> => {
  const group = dedicated ? null : sharedCpusetGroup(parents);
  const grouped = parents.mode === "v2" ? "unified" : "cpuset";
  return Object.fromEntries(
    Object.entries(parents.paths).map(([controller, path]) => [
      controller,
      `${controller === grouped && group !== null ? group : path}/${name}`,
    ]),
  );
};

const read = (path: string): string => readFileSync(path, "utf8").trim();

const openGroup = async (group: string, mode: CgroupMode): Promise<void> => {
  await mkdir(group, { recursive: true });
  if (mode === "v2") {
    const available = read(join(group, "cgroup.controllers"));
    if (available !== "") {
      await writeFile(join(group, "cgroup.subtree_control"), available.replaceAll(/(^| )/g, "$1+"));
    }
    return;
  }
  // The kernel gives each new instance what the group has then, and no start has to copy it.
  await writeFile(join(group, "cgroup.clone_children"), "1");
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    if (read(join(group, file)) === "") await writeFile(join(group, file), read(join(group, "..", file)));
  }
};

/** What has ended has none. At once: the kernel has it at hand, and a turn through the thread pool costs several times that. */
const readCpus = (directory: string, file: string = "cpuset.cpus"): number[] | null => {
  try {
    return parseCpuList(readFileSync(join(directory, file), "utf8"));
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
};

/** A write stops every process of the cpuset for a moment, so what is right already is left alone. */
const setCpus = async (directory: string, cpus: readonly number[]): Promise<void> => {
  const now = readCpus(directory);
  if (now === null || formatCpuList(now) === formatCpuList(cpus)) return;
  await writeFile(join(directory, "cpuset.cpus"), formatCpuList(cpus)).catch((error: unknown) => {
    if (!isGone(error)) throw error;
  });
};

/** Throws when the kernel gives others than these; what has ended has none. */
const verifyCpus = (mode: CgroupMode, directory: string, cpus: readonly number[]): void => {
  const actual = readCpus(directory, mode === "v2" ? "cpuset.cpus.effective" : "cpuset.cpus");
  if (actual === null || formatCpuList(actual) === formatCpuList(cpus)) return;
  throw new Error(`${directory} has CPUs ${formatCpuList(actual)} instead of ${formatCpuList(cpus)}`);
};

/** How often a group is narrowed while starts put instances into it; each round leaves fewer of them behind. */
const narrowingsMax = 100;

const isBusy = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "EBUSY";

/** One that has no CPUs has its group's: on cgroup2 for good, on v1 until it has copied them (`cgroup.clone_children`). */
const setChildren = async (group: string, shared: readonly number[], exact: CpusByPath): Promise<void> => {
  const directories = readdirSync(group, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const told = await Promise.allSettled(
    directories.map(async ({ name }) => {
      const path = join(group, name);
      const own = exact.get(path);
      if (own === undefined && (readCpus(path) ?? []).length === 0) return;
      await setCpus(path, own ?? shared);
    }),
  );
  // Only when nothing more is under way: what comes next may be to take it back.
  for (const each of told) if (each.status === "rejected") throw each.reason;
};

/** A v1 cpuset contains its children's at every moment, so the group is widened first and narrowed last. */
const setGroup = async (group: string, shared: readonly number[], exact: CpusByPath): Promise<void> => {
  const current = readCpus(group);
  if (current === null) return;
  await setCpus(group, [...current, ...shared]);
  for (let round = 1; ; round += 1) {
    await setChildren(group, shared, exact);
    try {
      await setCpus(group, shared);
      return;
    } catch (error) {
      if (!isBusy(error) || round === narrowingsMax) throw error;
    }
  }
};

type CpusByPath = ReadonlyMap<string, readonly number[]>;

export interface SharedCpus {
  readonly mode: CgroupMode;
  /** group of this agent's shared instances, which is made if need be */
  readonly own: string;
  /** that of the other agent; nobody is in one that is not there */
  readonly other: string | null;
  readonly shared: readonly number[];
  /** instances that have other CPUs than all shared ones, or do not lie in a group; of both agents */
  readonly members: readonly CpusetMember[];
}

/**
 * Gives all shared instances of both agents exactly `shared`, and `members` what they should have, and reads back that no
 * process of theirs may run elsewhere. Idempotent. An empty `shared` leaves the groups as they are: nobody is in one then.
 */
export const applySharedCpus = async ({ mode, own, other, shared, members }: SharedCpus): Promise<void> => {
  const groups = other === null ? [own] : [own, other];
  for (const { path, cpus } of members) {
    if (groups.includes(dirname(path))) continue;
    await setCpus(path, cpus);
    verifyCpus(mode, path, cpus);
  }
  await openGroup(own, mode);
  if (shared.length === 0) return;
  const exact = new Map(members.map(({ path, cpus }) => [path, cpus]));
  for (const group of groups) {
    await setGroup(group, shared, exact);
    verifyCpus(mode, group, shared);
  }
};
