import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { hierarchyOf, readCgroups, type CgroupLayout, type CgroupMode, type Hierarchy } from "./cgroups.ts";

/** Controllers instances want on cgroup2; a missing one makes its spec fields unenforceable on this host. */
const wantedOnV2 = ["cpu", "cpuset", "memory", "pids", "io"] as const;

/** The host's own cgroup in every mounted hierarchy; all instances live below. */
export interface CgroupParents {
  readonly mode: CgroupMode;
  /** absolute parent directory by controller (`unified` for cgroup2), in the shape the native runtime takes */
  readonly paths: Readonly<Record<string, string>>;
  /** controllers whose limits work below the parents */
  readonly controllers: ReadonlySet<string>;
  readonly problems: readonly string[];
}

const makeDirectory = async (path: string): Promise<void> => {
  await mkdir(path).catch((error: unknown) => {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  });
};

const read = async (path: string): Promise<string> => (await readFile(path, "utf8")).trim();

/** A new v1 cpuset is empty and takes no process until it has its parent's CPUs and memory nodes (cpusets(7)). */
const inheritCpuset = async (parent: string, child: string): Promise<void> => {
  for (const file of ["cpuset.cpus", "cpuset.mems"]) {
    if ((await read(join(child, file))) === "") await writeFile(join(child, file), await read(join(parent, file)));
  }
};

const makeV1 = async (hierarchy: Hierarchy, name: string): Promise<string> => {
  const path = join(hierarchy.own, name);
  await makeDirectory(path);
  if (hierarchy.controllers.includes("cpuset")) await inheritCpuset(hierarchy.own, path);
  if (hierarchy.controllers.includes("memory")) {
    const file = join(path, "memory.use_hierarchy");
    // Only kernels before 5.11 still have groups whose limit does not cover their children.
    if ((await read(file).catch(() => "1")) === "0") await writeFile(file, "1");
  }
  return path;
};

/** cgroup2 allows controllers only below a cgroup without processes of its own, the root excepted (cgroups(7)). */
const vacate = async (cgroup: string): Promise<void> => {
  const leaf = join(cgroup, "agent");
  await makeDirectory(leaf);
  for (let round = 0; round < 20; round += 1) {
    const pids = (await read(join(cgroup, "cgroup.procs"))).split("\n").filter((pid) => pid !== "");
    if (pids.length === 0) return;
    for (const pid of pids) {
      await writeFile(join(leaf, "cgroup.procs"), pid).catch((error: unknown) => {
        if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
      });
    }
  }
  throw new Error(`processes keep appearing in ${cgroup}; start the agent in a cgroup of its own`);
};

const enable = async (cgroup: string, controllers: readonly string[]): Promise<void> => {
  const enabled = new Set((await read(join(cgroup, "cgroup.subtree_control"))).split(" "));
  const missing = controllers.filter((controller) => !enabled.has(controller));
  if (missing.length === 0) return;
  await writeFile(join(cgroup, "cgroup.subtree_control"), missing.map((controller) => `+${controller}`).join(" "));
};

/** An agent that once moved itself into the leaf starts there again; the host's cgroup stays where it was. */
const baseOf = async (own: string, name: string): Promise<string> => {
  if (basename(own) !== "agent") return own;
  const siblings = await readdir(dirname(own));
  return siblings.includes(name) ? dirname(own) : own;
};

const makeV2 = async (hierarchy: Hierarchy, name: string): Promise<{ path: string; controllers: string[] }> => {
  const base = await baseOf(hierarchy.own, name);
  const available = (await read(join(base, "cgroup.controllers"))).split(" ");
  const controllers = wantedOnV2.filter((controller) => available.includes(controller));
  const path = join(base, name);
  const isRoot = !(await readdir(base)).includes("cgroup.type");
  if (controllers.length > 0 && !isRoot) await vacate(base);
  await enable(base, controllers);
  await makeDirectory(path);
  await enable(path, controllers);
  return { path, controllers };
};

/**
 * Makes (or finds again) the cgroups `name` (`bulkhead-<hash>`, and with `-vm` the VM agent's) below this process's own, one per mounted hierarchy, ready for
 * instances. Idempotent; either of a host's agents may do it.
 */
export const openCgroupParents = async (name: string, layout: CgroupLayout = readCgroups()): Promise<CgroupParents> => {
  const paths: Record<string, string> = {};
  const controllers = new Set<string>();
  for (const hierarchy of layout.hierarchies) {
    if (hierarchy.controllers.includes("unified")) {
      const made =
        layout.mode === "v2"
          ? await makeV2(hierarchy, name)
          : { path: join(hierarchy.own, name), controllers: [] as string[] };
      if (layout.mode !== "v2") await makeDirectory(made.path);
      paths["unified"] = made.path;
      for (const controller of made.controllers) controllers.add(controller);
    } else {
      const path = await makeV1(hierarchy, name);
      for (const controller of hierarchy.controllers) {
        paths[controller] = path;
        controllers.add(controller === "blkio" ? "io" : controller);
      }
    }
  }
  const problems = wantedOnV2
    .filter((controller) => !controllers.has(controller))
    .map((controller) => `the ${controller} cgroup controller is not available to this agent`);
  return { mode: layout.mode, paths, controllers, problems };
};

/** Removes the parents again; refuses (EBUSY) while an instance is below. */
export const removeCgroupParents = async (parents: CgroupParents): Promise<void> => {
  const paths = new Set(Object.values(parents.paths));
  for (const path of [...[...paths].map((parent) => join(parent, "shared")), ...paths]) {
    await rmdir(path).catch((error: unknown) => {
      if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
    });
  }
};

/** The same cgroup name below every parent: where one run of one instance lives. */
export const cgroupBelow = (parents: CgroupParents, name: string): Record<string, string> =>
  Object.fromEntries(Object.entries(parents.paths).map(([controller, path]) => [controller, join(path, name)]));

/** The file of this process's own cgroup in a controller, or undefined when the controller is not mounted. */
export const ownCgroupFile = (layout: CgroupLayout, controller: string, file: string): string | undefined => {
  const hierarchy = hierarchyOf(layout, controller);
  return hierarchy === undefined ? undefined : join(hierarchy.own, file);
};
