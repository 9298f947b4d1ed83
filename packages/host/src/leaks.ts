import { readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import { listTables, NativeError } from "@bulkhead/native-namespaces";
import { readCgroups } from "./cgroups.ts";
import { startTicksOf, stateOf } from "./process.ts";
import { isUnheldRange } from "./uid-ranges.ts";

/** What could be left behind on a host, each thing as one line that names it. */
export interface HostSnapshot {
  readonly mounts: ReadonlySet<string>;
  readonly cgroups: ReadonlySet<string>;
  readonly namespaces: ReadonlySet<string>;
  readonly processes: ReadonlySet<string>;
  /** network links and tables of packet rules */
  readonly networks: ReadonlySet<string>;
  readonly files: ReadonlySet<string>;
}

/** What to look at; everything of the machine that matches nothing here belongs to others. */
export interface SnapshotScope {
  /** directories whose files count */
  readonly directories: readonly string[];
  /** cgroup directory names that begin so count, with all below them */
  readonly cgroupPrefixes: readonly string[];
  /** processes whose command line holds one of these count, and so do all in a counted cgroup */
  readonly commands: readonly string[];
  /** links and rule tables of hosts whose hash begins so count; empty for every host's */
  readonly networksOf?: string;
  /** also count namespaces of every process on the machine; only sound while nothing else starts */
  readonly allNamespaces?: boolean;
}

const isGone = (error: unknown): boolean =>
  error instanceof Error &&
  "code" in error &&
  ["ENOENT", "ESRCH", "EACCES", "ENODEV", "ENOTDIR"].includes(String(error.code));

/** The kernel's lists change while they are read: what vanished meanwhile is not there. */
const orGone = async <T>(reading: Promise<T>, gone: T): Promise<T> =>
  reading.catch((error: unknown) => {
    if (isGone(error)) return gone;
    throw error;
  });

const walk = async (directory: string, found: Set<string>, keep: (path: string) => boolean): Promise<void> => {
  for (const entry of await orGone(readdir(directory, { withFileTypes: true }), [])) {
    const path = join(directory, entry.name);
    if (keep(path)) found.add(path);
    if (entry.isDirectory()) await walk(path, found, keep);
  }
};

const cgroupsOf = async (prefixes: readonly string[]): Promise<Set<string>> => {
  const found = new Set<string>();
  const belongs = (path: string): boolean =>
    path.split("/").some((name) => prefixes.some((prefix) => name.startsWith(prefix)));
  for (const { mountPoint } of readCgroups().hierarchies) {
    const directories = new Set<string>();
    await walk(mountPoint, directories, belongs);
    for (const path of directories) {
      if ((await orGone(readFile(join(path, "cgroup.procs"), "utf8"), null)) !== null) found.add(path);
    }
  }
  return found;
};

/** Names as `networkNames` gives them. */
const networksOf = async (hash: string): Promise<Set<string>> => {
  const links = (await readdir("/sys/class/net")).filter((name) => /^[bv][0-9a-f]{8}[\w-]{6}$/.test(name));
  const tables = await listTables().catch((error: unknown) => {
    // A kernel without nftables has no tables.
    if (error instanceof NativeError) return [];
    throw error;
  });
  return new Set([
    ...links.filter((name) => name.startsWith(hash, 1)).map((name) => `link ${name}`),
    ...tables
      .filter(({ name }) => name.startsWith(`bulkhead_${hash}`))
      .map(({ family, name }) => `table ${family} ${name}`),
  ]);
};

const namespaceTypes = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup", "time"] as const;

/** Takes a snapshot; reads the kernel's own lists only, so it sees what no record mentions. */
export const snapshotHost = async (scope: SnapshotScope): Promise<HostSnapshot> => {
  const files = new Set<string>();
  for (const directory of scope.directories) await walk(directory, files, (path) => !isUnheldRange(path));
  const cgroups = await cgroupsOf(scope.cgroupPrefixes);
  const inCgroups = new Set<string>();
  for (const path of cgroups) {
    const pids = await orGone(readFile(join(path, "cgroup.procs"), "utf8"), "");
    for (const pid of pids.split("\n")) inCgroups.add(pid);
  }
  const mounts = new Set<string>();
  for (const line of (await readFile("/proc/self/mountinfo", "utf8")).split("\n")) {
    if (scope.directories.some((directory) => line.includes(directory))) mounts.add(line.split(" ")[4] ?? line);
  }
  const processes = new Set<string>();
  const namespaces = new Set<string>();
  for (const pid of (await readdir("/proc")).filter((name) => /^[0-9]+$/.test(name))) {
    const command = (await orGone(readFile(`/proc/${pid}/cmdline`, "utf8"), "")).replaceAll("\0", " ").trim();
    const stat = await orGone(readFile(`/proc/${pid}/stat`, "utf8"), "");
    if (stat === "" || stateOf(stat) === "X") continue;
    const counts = inCgroups.has(pid) || scope.commands.some((part) => command.includes(part));
    if (counts) processes.add(`${pid}@${startTicksOf(stat)} ${command}`);
    if (!counts && scope.allNamespaces !== true) continue;
    for (const type of namespaceTypes) {
      const link = await orGone(readlink(`/proc/${pid}/ns/${type}`), "");
      if (link !== "") namespaces.add(link);
    }
  }
  const networks = scope.networksOf === undefined ? new Set<string>() : await networksOf(scope.networksOf);
  return { mounts, cgroups, namespaces, processes, networks, files };
};

/** Every kind of thing a snapshot holds, with the word for one of them. */
export const leakKinds = [
  ["mounts", "mount"],
  ["cgroups", "cgroup"],
  ["namespaces", "namespace"],
  ["processes", "process"],
  ["networks", "network"],
  ["files", "file"],
] as const;

/** What `after` has and `before` had not, one line each, e.g. `cgroup /sys/fs/cgroup/pids/bulkhead-1a2b3c4d/…`. */
export const leaksBetween = (before: HostSnapshot, after: HostSnapshot): string[] =>
  leakKinds.flatMap(([kind, name]) =>
    [...after[kind]].filter((item) => !before[kind].has(item)).map((item) => `${name} ${item}`),
  );
