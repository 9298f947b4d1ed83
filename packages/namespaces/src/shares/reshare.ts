import { readlinkSync } from "node:fs";
import type { AssignedShare, InstanceId, ShareOutcome } from "@bulkhead/contracts";
import {
  attach,
  detach,
  NativeError,
  startTicks,
  type CgroupPlacement,
  type ProcessRef,
} from "@bulkhead/native-namespaces";
import { membersOf } from "../members.ts";
import { admitShare, idMapped, isExecutable } from "./admit-share.ts";
import type { ShareStore } from "./share-store.ts";

export interface SharingRun {
  readonly instanceId: InstanceId;
  readonly init: ProcessRef;
  readonly cgroup: CgroupPlacement;
  readonly store: ShareStore;
  /** release of the host's kernel */
  readonly kernel: string;
}

const outcome = (shareId: string, state: ShareOutcome["state"], more: Partial<ShareOutcome> = {}): ShareOutcome => ({
  shareId,
  state,
  busy: false,
  detail: null,
  ...more,
});

/** What the kernel's answer means to a person. */
const explain = (error: unknown, { path }: AssignedShare): string => {
  const code = error instanceof NativeError ? error.code : undefined;
  if (code === "EROFS") return `"${path}" does not exist in the instance, and its root is read-only`;
  if (code === "ENOTDIR") return `"${path}" is no directory in the instance`;
  if (code === "ELOOP") return `"${path}" leads through links that end nowhere`;
  if (code === "EOPNOTSUPP") return `"${path}" leads to the kernel's own files in the instance`;
  return error instanceof Error ? error.message : String(error);
};

const attachOne = async (run: SharingRun, share: AssignedShare): Promise<ShareOutcome> => {
  try {
    const path = admitShare(share);
    const source = await run.store.use(share, run.instanceId);
    await attach({
      ...source,
      target: run.init,
      destination: path.slice(1),
      readOnly: share.readOnly,
      noExec: !isExecutable(share),
      idMapped: idMapped(share, run.kernel),
    });
    return outcome(share.shareId, "attached");
  } catch (error) {
    await run.store.leave(share.shareId, run.instanceId);
    return outcome(share.shareId, "failed", { detail: explain(error, share) });
  }
};

/** First process in each mount namespace of an instance: a privileged one can make more, with mounts copied into them. */
const mountNamespaces = ({ init, cgroup }: SharingRun): ProcessRef[] => {
  const found = new Map<string, ProcessRef>([[readlinkSync(`/proc/${init.pid}/ns/mnt`), init]]);
  for (const pid of membersOf(cgroup)) {
    try {
      const link = readlinkSync(`/proc/${pid}/ns/mnt`);
      if (!found.has(link)) found.set(link, { pid, startTicks: startTicks(pid) });
    } catch (error) {
      // It ended meanwhile, and its namespace with it.
      if (!(error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH")))
        throw error;
    }
  }
  return [...found.values()];
};

const detachOne = async (run: SharingRun, share: AssignedShare): Promise<ShareOutcome> => {
  try {
    const source = run.store.sourceOf(share);
    let busy = false;
    for (const target of mountNamespaces(run)) {
      const done = await detach({ ...source, target });
      busy ||= done.busy;
    }
    await run.store.leave(share.shareId, run.instanceId);
    const detail = busy ? "files of it were open and stay usable to whoever has them open" : null;
    return outcome(share.shareId, "detached", { busy, detail });
  } catch (error) {
    return outcome(share.shareId, "failed", { detail: explain(error, share) });
  }
};

const isSameMount = (a: AssignedShare, b: AssignedShare): boolean =>
  a.shareId === b.shareId && a.path === b.path && a.readOnly === b.readOnly;

/**
 * Brings what a running container sees from `present` to `wanted`: what changed in place or mode is detached and attached
 * again. Answers what it sees now, and an outcome for every share concerned; nothing is thrown for a share that failed.
 */
export const reshare = async (
  run: SharingRun,
  present: readonly AssignedShare[],
  wanted: readonly AssignedShare[],
): Promise<{ seen: AssignedShare[]; outcomes: ShareOutcome[] }> => {
  const seen = present.filter((share) => wanted.some((each) => isSameMount(share, each)));
  const outcomes = seen.map(({ shareId }) => outcome(shareId, "attached"));
  for (const share of present) {
    if (seen.includes(share)) continue;
    const done = await detachOne(run, share);
    if (done.state === "failed") seen.push(share);
    if (done.state === "failed" || !wanted.some(({ shareId }) => shareId === share.shareId)) outcomes.push(done);
  }
  for (const share of wanted) {
    if (seen.some(({ shareId }) => shareId === share.shareId)) continue;
    const done = await attachOne(run, share);
    if (done.state === "attached") seen.push(share);
    outcomes.push(done);
  }
  return { seen, outcomes };
};
