import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  fleetError,
  viewListMax,
  type InstanceId,
  type InstanceView,
  type ViewDevice,
  type ViewNamespace,
  type ViewSocket,
} from "@bulkhead/contracts";
import {
  inspect,
  isAlive,
  type CgroupPlacement,
  type DeviceNode,
  type OciSeccomp,
  type ProcessRef,
  type SourceDirectory,
} from "@bulkhead/native-namespaces";
import { insideId, parseIdMap, type IdMapLine } from "./id-map.ts";
import { readDeviceRules, readLimitsInForce } from "./limits.ts";
import { parseMountInfo } from "./mountinfo.ts";
import { readNamespaces } from "./namespace-members.ts";
import { parseProcessStatus } from "./process-status.ts";
import { seccompView } from "./seccomp-view.ts";
import { parseInternetSockets, parseUnixSockets } from "./sockets.ts";

export interface ViewQuery {
  readonly instanceId: InstanceId;
  readonly name: string;
  readonly init: ProcessRef;
  readonly cgroup: CgroupPlacement;
  /** what it was started with, for when the kernel does not tell */
  readonly profile: OciSeccomp;
  /** the only places where it may write, as it was started; null: not confined */
  readonly writable: readonly string[] | null;
  /** stop the first process for a moment to read its filters */
  readonly stop: boolean;
  nameOf(instanceId: InstanceId): string | undefined;
  /** the instance on record for a cgroup that was made before it was known */
  ownerOf(cgroup: string): InstanceId | undefined;
  /** what it should see of shares, and where their data lies */
  readonly shares: readonly (SourceDirectory & { readonly name: string })[];
  /** the share whose namespaces it should be in, with the kernel's links of those; null links: nothing holds them */
  readonly namespaces: { readonly name: string; readonly links: ReadonlyMap<string, string> | null } | null;
  /** who has connected its network namespace, if that is shared */
  connected(): Promise<ViewNamespace["connected"]>;
}

/** Cuts lists that an instance could make as long as it likes, and tells which. */
class Bounds {
  readonly cut: string[] = [];

  take<Item>(name: string, items: Item[]): Item[] {
    if (items.length > viewListMax) this.cut.push(name);
    return items.slice(0, viewListMax);
  }
}

const orEmpty = async (path: string): Promise<string> =>
  readFile(path, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && ["ENOENT", "EINVAL", "EACCES"].includes(String(error.code)))
      return "";
    throw error;
  });

/** Where a share lies, in the kernel's terms: a file system and a directory of it. */
interface Origin {
  readonly name: string;
  readonly device: string;
  readonly root: string;
}

const readOrigins = async (shares: ViewQuery["shares"]): Promise<Origin[]> => {
  if (shares.length === 0) return [];
  const mounts = parseMountInfo(await readFile("/proc/self/mountinfo", "utf8"));
  return shares.flatMap(({ name, beneath, source }) => {
    const path = join(beneath, source);
    // The deepest mount that the path lies on, and of several on one place the last.
    const holder = mounts
      .filter(({ target }) => target === "/" || path === target || path.startsWith(`${target}/`))
      .toSorted((a, b) => a.target.length - b.target.length)
      .at(-1);
    if (holder === undefined) return [];
    const below = path.slice(holder.target === "/" ? 0 : holder.target.length);
    const root = `${holder.root === "/" ? "" : holder.root}${below}`;
    return [{ name, device: holder.device, root: root === "" ? "/" : root }];
  });
};

/** The name of the share that a namespace is in common by. */
const shareOf = (
  { type, inode }: ViewNamespace,
  shared: ViewQuery["namespaces"],
): Partial<Pick<ViewNamespace, "share">> =>
  shared !== null && shared.links?.get(type) === `${type}:[${inode}]` ? { share: shared.name } : {};

const isOf = (mount: { device: string; root: string }, origin: Origin): boolean =>
  mount.device === origin.device &&
  (mount.root === origin.root || mount.root.startsWith(origin.root === "/" ? "/" : `${origin.root}/`));

const protocols = ["tcp", "tcp6", "udp", "udp6"] as const;

const readSockets = async (pid: number, uidMap: readonly IdMapLine[]): Promise<ViewSocket[]> => {
  const internet = await Promise.all(
    protocols.map(async (protocol) =>
      parseInternetSockets(await orEmpty(`/proc/${pid}/net/${protocol}`), protocol, uidMap),
    ),
  );
  return [...internet.flat(), ...parseUnixSockets(await orEmpty(`/proc/${pid}/net/unix`))];
};

const deviceOf = (node: DeviceNode, uidMap: readonly IdMapLine[], gidMap: readonly IdMapLine[]): ViewDevice => ({
  ...node,
  mode: node.mode.toString(8).padStart(4, "0"),
  uid: insideId(uidMap, node.uid),
  gid: insideId(gidMap, node.gid),
});

const countProcesses = async ({ paths }: CgroupPlacement): Promise<number> => {
  const directory = paths["pids"] ?? paths["unified"] ?? Object.values(paths)[0];
  if (directory === undefined) return 0;
  return (await orEmpty(join(directory, "cgroup.procs"))).split("\n").filter((line) => line !== "").length;
};

const readView = async (query: ViewQuery): Promise<InstanceView> => {
  const { instanceId, name, init, cgroup } = query;
  const { pid } = init;
  const proc = (file: string): Promise<string> => readFile(`/proc/${pid}/${file}`, "utf8");
  const [mounts, status, uids, gids, label, modules, inspection] = await Promise.all([
    proc("mountinfo"),
    proc("status").then(parseProcessStatus),
    proc("uid_map").then(parseIdMap),
    proc("gid_map").then(parseIdMap),
    orEmpty(`/proc/${pid}/attr/current`),
    orEmpty("/sys/kernel/security/lsm"),
    inspect(init, { stop: query.stop }),
  ]);
  const [{ namespaces, unreadable }, sockets, processes, connected] = await Promise.all([
    readNamespaces({
      pid,
      instanceId,
      nameOf: (id) => query.nameOf(id),
      ownerOf: (name) => query.ownerOf(name),
    }),
    readSockets(pid, uids),
    countProcesses(cgroup),
    query.connected(),
  ]);
  const origins = await readOrigins(query.shares);
  const bounds = new Bounds();
  const view: InstanceView = {
    instanceId,
    name,
    at: new Date().toISOString(),
    pid,
    processes,
    mounts: bounds
      .take("mounts", parseMountInfo(mounts))
      .map((mount) => ({ ...mount, share: origins.find((origin) => isOf(mount, origin))?.name ?? null })),
    namespaces: namespaces.map((each) => ({
      ...each,
      ...shareOf(each, query.namespaces),
      ...(each.type === "net" && connected !== undefined ? { connected } : {}),
    })),
    unreadable,
    devices: {
      nodes: bounds.take("devices", inspection.devices).map((node) => deviceOf(node, uids, gids)),
      allowed: readDeviceRules(cgroup),
    },
    capabilities: status.capabilities,
    ids: { uid: insideId(uids, status.uid), gid: insideId(gids, status.gid), uidMap: uids },
    seccomp: seccompView({ status, inspection, asked: query.stop, profile: query.profile }),
    security: {
      noNewPrivileges: status.noNewPrivileges,
      modules: modules === "" ? null : modules.trim().split(","),
      label: label.replaceAll("\0", "").trim() || null,
      writable: query.writable === null ? null : [...query.writable],
    },
    sockets: bounds.take("sockets", sockets),
    limits: readLimitsInForce(cgroup),
    truncated: bounds.cut,
  };
  if (inspection.devicesTruncated && !view.truncated.includes("devices")) view.truncated.push("devices");
  return view;
};

/**
 * What a running instance can see and do, all of it from the kernel's files for that very process. Rejects
 * STATE_CONFLICT when it has ended, also while it was looked at.
 */
export const instanceView = async (query: ViewQuery): Promise<InstanceView> => {
  const ended = (cause?: unknown) => fleetError("STATE_CONFLICT", "the instance has ended", { cause });
  try {
    const view = await readView(query);
    // Files of /proc go by number: had it been reused, they would be another process's.
    if (!isAlive(query.init)) throw ended();
    return view;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ESRCH") throw ended(error);
    throw error;
  }
};
