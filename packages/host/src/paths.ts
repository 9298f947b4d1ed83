import { createHash } from "node:crypto";
import { join } from "node:path";
import type { HostId, Isolation } from "@bulkhead/contracts";

/** Every place a host's agents may write: persistent below `state`, per boot below `run`. */
export interface HostPaths {
  readonly hostId: HostId;
  /** whose places `instances`, `runInstances`, `trash`, `leasePage` and `cgroups` are; the rest both agents share */
  readonly isolation: Isolation;
  /** 8 hex digits naming this host's cgroups, links and tables, so that several hosts can live on one machine */
  readonly hash: string;
  readonly state: string;
  readonly images: string;
  readonly instances: string;
  readonly instancesOf: Readonly<Record<Isolation, string>>;
  /** lowest layer of every container: empty places for what is mounted in each */
  readonly mountPoints: string;
  /** data of shares on the host's disk */
  readonly shares: string;
  readonly uidRanges: string;
  readonly trash: string;
  readonly run: string;
  readonly runInstances: string;
  readonly runInstancesOf: Readonly<Record<Isolation, string>>;
  /** shares that are file systems of their own, mounted where nobody but root looks */
  readonly runShares: string;
  /** whoever changes a share has this file's lock, since both agents make and remove them */
  readonly shareLock: string;
  /** writable layers that are file systems of their own, the same way */
  readonly runDisks: string;
  /** which CPUs are whose, of both agents' instances */
  readonly cpus: string;
  /** one per agent: each agent's contact counts for its own instances only */
  readonly leasePage: string;
  /** name of the cgroup that all instances of the agent are below */
  readonly cgroups: string;
  readonly lock: string;
}

/** First 8 hex digits of the id's SHA-256: short enough for link names (15 characters) and socket paths (107 bytes). */
export const hostHash = (hostId: HostId): string => createHash("sha256").update(hostId).digest("hex").slice(0, 8);

/** Layout of one host below the machine's state directory and its per-boot directory, as one of its agents sees it. */
export const hostPaths = (
  stateDir: string,
  runDir: string,
  hostId: HostId,
  isolation: Isolation = "container",
): HostPaths => {
  const state = join(stateDir, "hosts", hostId);
  const run = join(runDir, hostId);
  const hash = hostHash(hostId);
  // The two agents start, adopt and sweep without a word to each other, so neither may find what is the other's.
  const own = (name: string): string => (isolation === "vm" ? `${name}-vm` : name);
  const instancesOf = { container: join(state, "instances"), vm: join(state, "instances-vm") };
  const runInstancesOf = { container: join(run, "instances"), vm: join(run, "instances-vm") };
  return {
    hostId,
    isolation,
    hash,
    state,
    images: join(state, "images"),
    instances: instancesOf[isolation],
    instancesOf,
    mountPoints: join(state, "mount-points"),
    shares: join(state, "shares"),
    uidRanges: join(state, "uid-ranges"),
    trash: join(state, own("trash")),
    run,
    runInstances: runInstancesOf[isolation],
    runInstancesOf,
    runShares: join(run, "shares"),
    shareLock: join(run, "share-lock"),
    runDisks: join(run, "disks"),
    cpus: join(run, "cpus"),
    leasePage: join(run, `lease.${isolation}`),
    cgroups: own(`bulkhead-${hash}`),
    lock: join(run, "lock"),
  };
};
