import { createHash } from "node:crypto";
import { join } from "node:path";
import type { HostId, Isolation } from "@bulkhead/contracts";

/** Every place a host's agents may write: persistent below `state`, per boot below `run`. */
export interface HostPaths {
  readonly hostId: HostId;
  /** 8 hex digits naming this host's cgroups, links and tables, so that several hosts can live on one machine */
  readonly hash: string;
  readonly state: string;
  readonly images: string;
  readonly instances: string;
  /** lowest layer of every container: empty places for what is mounted in each */
  readonly mountPoints: string;
  /** data of shares on the host's disk */
  readonly shares: string;
  readonly uidRanges: string;
  readonly trash: string;
  readonly run: string;
  readonly runInstances: string;
  /** shares that are file systems of their own, mounted where nobody but root looks */
  readonly runShares: string;
  /** one per agent: each agent's contact counts for its own instances only */
  readonly leasePages: Readonly<Record<Isolation, string>>;
  readonly lock: string;
}

/** First 8 hex digits of the id's SHA-256: short enough for link names (15 characters) and socket paths (107 bytes). */
export const hostHash = (hostId: HostId): string => createHash("sha256").update(hostId).digest("hex").slice(0, 8);

/** Layout of one host below the machine's state directory and its per-boot directory. */
export const hostPaths = (stateDir: string, runDir: string, hostId: HostId): HostPaths => {
  const state = join(stateDir, "hosts", hostId);
  const run = join(runDir, hostId);
  return {
    hostId,
    hash: hostHash(hostId),
    state,
    images: join(state, "images"),
    instances: join(state, "instances"),
    mountPoints: join(state, "mount-points"),
    shares: join(state, "shares"),
    uidRanges: join(state, "uid-ranges"),
    trash: join(state, "trash"),
    run,
    runInstances: join(run, "instances"),
    runShares: join(run, "shares"),
    leasePages: { container: join(run, "lease.container"), vm: join(run, "lease.vm") },
    lock: join(run, "lock"),
  };
};
