import { mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { hierarchyOf, readCgroups, type CgroupLayout, type CgroupMode, type Hierarchy } from "./cgroups.ts";

/** Controllers instances want on cgroup2; a missing one makes its spec fields unenforceable on this host. */
const wantedOnV2 = ["cpu", "cpuset", "memory", "pids", "io"] as const;

/** Name of the level below a host's cgroup where the shims of its instances live. */
const shimsName = "shims";

/** The host's own cgroup in every mounted hierarchy; all instances live below. */
export interface CgroupParents {
  readonly mode: CgroupMode;
  /** absolute parent directory by controller (`unified` for cgroup2), in the shape the native runtime takes */
  readonly paths: Readonly<Record<string, string>>;
  /** controllers whose limits work below the parents */
  readonly controllers: ReadonlySet<string>;
  readonly problems: readonly string[];
  /** where shims live, a directory per hierarchy; none: where their agent is */
  readonly shims: readonly string[];
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

const makeV1 = async (hierarchy: Hierarchy, above: string, name: string): Promise<string> => {
  const path = join(above, name);
  await makeDirectory(path);
  if (hierarchy.controllers.includes("cpuset")) await inheritCpuset(above, path);
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

/** The configured cgroup's levels from the mount point down, which the first is. */
const levelsTo = ({ own, mountPoint }: Hierarchy, parent: string): string[] => {
  const path = join(parent.startsWith("/") ? mountPoint : own, parent);
  const below = relative(mountPoint, path);
  if (below === "" || below.startsWith("..")) throw new Error(`${parent} is no cgroup below ${mountPoint}`);
  const names = below.split("/");
  return [mountPoint, ...names.map((_, at) => join(mountPoint, ...names.slice(0, at + 1)))];
};

const openParent = async (hierarchy: Hierarchy, parent: string, controllers: readonly string[]): Promise<string> => {
  let above = "";
  for (const level of levelsTo(hierarchy, parent)) {
    if (above !== "") {
      if (controllers.length > 0) await enable(above, controllers);
      if (hierarchy.controllers.includes("unified")) await makeDirectory(level);
      else await makeV1(hierarchy, above, basename(level));
    }
    above = level;
  }
  return above;
};

const available = async (cgroup: string): Promise<string[]> => {
  const controllers = (await read(join(cgroup, "cgroup.controllers"))).split(" ");
  return wantedOnV2.filter((controller) => controllers.includes(controller));
};

const makeV2 = async (
  hierarchy: Hierarchy,
  name: string,
  parent: string | undefined,
): Promise<{ path: string; controllers: string[] }> => {
  const base =
    parent === undefined
      ? await baseOf(hierarchy.own, name)
      : await openParent(hierarchy, parent, await available(hierarchy.mountPoint));
  const controllers = await available(base);
  const path = join(base, name);
  const isRoot = !(await readdir(base)).includes("cgroup.type");
  // A cgroup that is nobody's but ours holds no process.
  if (parent === undefined && controllers.length > 0 && !isRoot) await vacate(base);
  await enable(base, controllers);
  await makeDirectory(path);
  await enable(path, controllers);
  return { path, controllers };
};

/** Where controllers need not be handed down. */
const baseWithout = async (hierarchy: Hierarchy, parent: string | undefined): Promise<string> =>
  parent === undefined ? hierarchy.own : openParent(hierarchy, parent, []);

/** A leaf in every hierarchy: on cgroup2 only such may hold processes. */
const openShims = (layout: CgroupLayout, paths: CgroupParents["paths"]): Promise<string[]> =>
  Promise.all(
    layout.hierarchies.map(async (hierarchy) => {
      const above = paths[hierarchy.controllers[0] ?? ""] ?? "";
      if (!hierarchy.controllers.includes("unified")) return makeV1(hierarchy, above, shimsName);
      await makeDirectory(join(above, shimsName));
      return join(above, shimsName);
    }),
  );

/**
 * Makes (or finds again) the cgroups `name` (`bulkhead-<hash>`, and with `-vm` the VM agent's) below this process's own,
 * one per mounted hierarchy, ready for instances. Idempotent; either of a host's agents may do it. With a `parent`, from
 * the mount points (`/bulkhead`) or beside this process's own cgroup (`../instances`), they lie there instead, and a
 * place for shims with them: then what ends this process's whole cgroup ends neither instances nor their shims.
 */
export const openCgroupParents = async (
  name: string,
  layout: CgroupLayout = readCgroups(),
  parent?: string,
): Promise<CgroupParents> => {
  const paths: Record<string, string> = {};
  const controllers = new Set<string>();
  for (const hierarchy of layout.hierarchies) {
    if (hierarchy.controllers.includes("unified")) {
      const made =
        layout.mode === "v2"
          ? await makeV2(hierarchy, name, parent)
          : { path: join(await baseWithout(hierarchy, parent), name), controllers: [] as string[] };
      if (layout.mode !== "v2") await makeDirectory(made.path);
      paths["unified"] = made.path;
      for (const controller of made.controllers) controllers.add(controller);
    } else {
      const path = await makeV1(hierarchy, await baseWithout(hierarchy, parent), name);
      for (const controller of hierarchy.controllers) {
        paths[controller] = path;
        controllers.add(controller === "blkio" ? "io" : controller);
      }
    }
  }
  const problems = wantedOnV2
    .filter((controller) => !controllers.has(controller))
    .map((controller) => `the ${controller} cgroup controller is not available to this agent`);
  const shims = parent === undefined ? [] : await openShims(layout, paths);
  return { mode: layout.mode, paths, controllers, problems, shims };
};

/** Removes the parents again; refuses (EBUSY) while an instance is below. */
export const removeCgroupParents = async (parents: CgroupParents): Promise<void> => {
  const paths = new Set(Object.values(parents.paths));
  const below = [...paths].flatMap((parent) => [join(parent, "shared"), join(parent, shimsName)]);
  for (const path of [...below, ...paths]) {
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
