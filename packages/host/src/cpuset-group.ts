import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { CgroupParents } from "./cgroup-parents.ts";
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

const open = async (parents: CgroupParents, group: string): Promise<void> => {
  await mkdir(group, { recursive: true });
  if (parents.mode === "v2") {
    const available = (await readFile(join(group, "cgroup.controllers"), "utf8")).trim();
    if (available !== "") {
      await writeFile(join(group, "cgroup.subtree_control"), available.replaceAll(/(^| )/g, "$1+"));
    }
    return;
  }
  const parent = parents.paths["cpuset"] ?? "";
  // The kernel gives each new instance what the group has then, and no start has to copy it.
  await writeFile(join(group, "cgroup.clone_children"), "1");
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    if ((await readFile(join(group, file), "utf8")).trim() === "") {
      await writeFile(join(group, file), await readFile(join(parent, file), "utf8"));
    }
  }
};

const setCpus = async (directory: string, cpus: readonly number[]): Promise<void> => {
  await writeFile(join(directory, "cpuset.cpus"), formatCpuList(cpus)).catch((error: unknown) => {
    if (!isGone(error)) throw error;
  });
};

/** Throws when the kernel gives others than these; what has ended has none. */
const verifyCpus = async (parents: CgroupParents, directory: string, cpus: readonly number[]): Promise<void> => {
  const file = parents.mode === "v2" ? "cpuset.cpus.effective" : "cpuset.cpus";
  const actual = await readFile(join(directory, file), "utf8").catch((error: unknown) => {
    if (!isGone(error)) throw error;
    return formatCpuList(cpus);
  });
  if (actual.trim() === formatCpuList(cpus)) return;
  throw new Error(`${directory} has CPUs ${actual.trim()} instead of ${formatCpuList(cpus)}`);
};

/**
 * Gives all shared instances exactly `shared` (each its own part of it), those with CPUs of their own that share too what
 * they should have, and reads back that no process of theirs may run elsewhere. Idempotent. The group is widened first
 * and narrowed last: a v1 cpuset must contain its children's at every moment. An empty `shared` leaves the group as it is:
 * nobody is in it then.
 */
export const applySharedCpus = async (
  parents: CgroupParents,
  shared: readonly number[],
  members: readonly CpusetMember[],
): Promise<void> => {
  const group = sharedCpusetGroup(parents);
  if (group === null) return;
  const inGroup = ({ path }: CpusetMember): boolean => dirname(path) === group;
  for (const { path, cpus } of members.filter((member) => !inGroup(member))) {
    await setCpus(path, cpus);
    await verifyCpus(parents, path, cpus);
  }
  if (shared.length === 0) return;
  await open(parents, group);
  const current = parseCpuList(await readFile(join(group, "cpuset.cpus"), "utf8"));
  await setCpus(group, [...current, ...shared]);
  const listed = new Set(members.map(({ path }) => path));
  for (const entry of await readdir(group, { withFileTypes: true })) {
    const path = join(group, entry.name);
    if (entry.isDirectory() && !listed.has(path)) await setCpus(path, shared);
  }
  for (const { path, cpus } of members.filter(inGroup)) await setCpus(path, cpus);
  await setCpus(group, shared);
  await verifyCpus(parents, group, shared);
};
