import { readFileSync } from "node:fs";
import { join, relative } from "node:path";

export type CgroupMode = "v1" | "hybrid" | "v2";

/** One mounted hierarchy that instances can use. */
export interface Hierarchy {
  /** controller names (v1, several when co-mounted), or `unified` for cgroup2 */
  readonly controllers: readonly string[];
  readonly mountPoint: string;
  /** absolute directory of this process's own cgroup */
  readonly own: string;
}

export interface CgroupLayout {
  readonly mode: CgroupMode;
  readonly hierarchies: readonly Hierarchy[];
}

/** v1 controllers an instance gets a cgroup in; others (net_cls, perf_event, named ones) promise nothing here. */
const usedControllers = new Set(["cpu", "cpuacct", "cpuset", "memory", "pids", "blkio", "freezer", "devices"]);

const unescape = (field: string): string =>
  field.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCodePoint(Number.parseInt(octal, 8)));

const ownPathIn = (mountRoot: string, mountPoint: string, path: string): string => {
  const inside = relative(mountRoot, path);
  return inside.startsWith("..") ? mountPoint : join(mountPoint, inside);
};

/**
 * Which hierarchies are mounted where, and where this process is in each, from the text of /proc/self/mountinfo and
 * /proc/self/cgroup (proc(5), cgroups(7)). Throws when no usable hierarchy is mounted.
 */
export const parseCgroups = (mountinfo: string, selfCgroup: string): CgroupLayout => {
  const ownPaths = new Map<string, string>();
  for (const line of selfCgroup.split("\n")) {
    const [, controllers, ...path] = line.split(":");
    if (controllers === undefined) continue;
    for (const controller of controllers === "" ? ["unified"] : controllers.split(",")) {
      ownPaths.set(controller, path.join(":"));
    }
  }
  const hierarchies: Hierarchy[] = [];
  const seen = new Set<string>();
  let v2At: string | undefined;
  for (const line of mountinfo.split("\n")) {
    const [mount = "", source = ""] = line.split(" - ");
    const [, , , root = "/", point = ""] = mount.split(" ").map(unescape);
    const [type, , superOptions = ""] = source.split(" ");
    if (type !== "cgroup" && type !== "cgroup2") continue;
    const names =
      type === "cgroup2" ? ["unified"] : superOptions.split(",").filter((name) => usedControllers.has(name));
    const fresh = names.filter((name) => !seen.has(name));
    if (fresh.length === 0) continue;
    for (const name of fresh) seen.add(name);
    if (type === "cgroup2") v2At = point;
    const path = ownPaths.get(fresh[0] ?? "") ?? "/";
    hierarchies.push({ controllers: fresh, mountPoint: point, own: ownPathIn(root, point, path) });
  }
  if (hierarchies.length === 0) throw new Error("no cgroup hierarchy is mounted; mount cgroup2 at /sys/fs/cgroup");
  const v1 = hierarchies.some(({ controllers }) => !controllers.includes("unified"));
  return { mode: v2At === undefined ? "v1" : v1 ? "hybrid" : "v2", hierarchies };
};

/** The layout of this machine as this process sees it. */
export const readCgroups = (): CgroupLayout =>
  parseCgroups(readFileSync("/proc/self/mountinfo", "utf8"), readFileSync("/proc/self/cgroup", "utf8"));

/** The hierarchy of one controller, or undefined when it is not mounted; on v2 every controller is `unified`'s. */
export const hierarchyOf = (layout: CgroupLayout, controller: string): Hierarchy | undefined =>
  layout.hierarchies.find(({ controllers }) => controllers.includes(layout.mode === "v2" ? "unified" : controller));
