import { readdir, readFile, readlink } from "node:fs/promises";
import { readFileSync, readlinkSync } from "node:fs";
import {
  namespaceTypes,
  viewExamplesMax,
  type InstanceId,
  type NamespaceType,
  type ViewNamespace,
} from "@bulkhead/contracts";

/** Processes looked at in one turn of the event loop: some 8 ms here for eight links each. */
const processesPerTurn = 200;
/** An instance's cgroups end in `<instance id>.<era>.<n>.<attempt>`, whatever lies above. */
const instancePattern = /\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.\d+\.\d+\.\d+(?:\/|$)/m;

/** One whose process was born before its instance was known: only its record says whose it is. */
const readyPattern = /\/(ready-[0-9a-f]{16}\.\d+\.\d+\.\d+)(?:\/|$)/m;

const isGone = (error: unknown): boolean =>
  error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ESRCH");

/** A process with more privileges than we have; inside a confined machine even the first one can be. */
const isHidden = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "EACCES";

/** The kernel's list changes while it is read: who has gone is not there. */
const orGone = <T>(read: () => T): T | null => {
  try {
    return read();
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
};

const inodeOf = (link: string): number => Number(/\[(\d+)\]/.exec(link)?.[1]);

/**
 * The instance a process belongs to by its cgroups, which only we write; null for one of the host's own. `ownerOf`: the
 * instance on record for a cgroup that was made before it.
 */
export const instanceOfProcess = (
  cgroups: string,
  ownerOf: (cgroup: string) => InstanceId | undefined,
): InstanceId | null => {
  const named = instancePattern.exec(cgroups)?.[1] as InstanceId | undefined;
  if (named !== undefined) return named;
  const ready = readyPattern.exec(cgroups)?.[1];
  return (ready === undefined ? undefined : ownerOf(ready)) ?? null;
};

interface Members {
  readonly instances: Set<InstanceId>;
  hostCount: number;
  readonly examples: { pid: number; command: string }[];
}

const commandOf = (pid: string): string => orGone(() => readFileSync(`/proc/${pid}/comm`, "utf8").trimEnd()) ?? "";

/** Notes one process for those of our namespaces that it is in. */
const note = (
  pid: string,
  wanted: ReadonlyMap<NamespaceType, string>,
  members: ReadonlyMap<NamespaceType, Members>,
  ownerOf: NamespaceQuery["ownerOf"],
) => {
  const joined = namespaceTypes.filter((type) => {
    const link = wanted.get(type);
    return link !== undefined && orGone(() => readlinkSync(`/proc/${pid}/ns/${type}`)) === link;
  });
  if (joined.length === 0) return;
  const cgroups = orGone(() => readFileSync(`/proc/${pid}/cgroup`, "utf8"));
  if (cgroups === null) return;
  const instanceId = instanceOfProcess(cgroups, ownerOf);
  for (const type of joined) {
    const found = members.get(type);
    if (found === undefined) continue;
    if (instanceId !== null) found.instances.add(instanceId);
    else {
      found.hostCount += 1;
      if (found.examples.length < viewExamplesMax) found.examples.push({ pid: Number(pid), command: commandOf(pid) });
    }
  }
};

export interface NamespaceQuery {
  readonly pid: number;
  readonly instanceId: InstanceId;
  /** names of the host's instances; of one that is not known its id is shown */
  readonly nameOf: (instanceId: InstanceId) => string | undefined;
  /** the instance on record for a cgroup that was made before it was known */
  readonly ownerOf: (cgroup: string) => InstanceId | undefined;
}

/**
 * The namespaces of a process and who else on this host is in each: every process of the machine is asked, some at a
 * time, so that nobody waits for thousands. Rejects ENOENT when the process has ended.
 */
export const readNamespaces = async ({
  pid,
  instanceId,
  nameOf,
  ownerOf,
}: NamespaceQuery): Promise<{ namespaces: ViewNamespace[]; unreadable: number }> => {
  let unreadable = 0;
  const wanted = new Map<NamespaceType, string>();
  const members = new Map<NamespaceType, Members>();
  for (const type of namespaceTypes) {
    const link = await readlink(`/proc/${pid}/ns/${type}`).catch((error: unknown) => {
      // A kernel without this kind has no link; a process that has ended has none at all.
      if (isGone(error) && type === "time") return null;
      throw error;
    });
    if (link === null) continue;
    wanted.set(type, link);
    members.set(type, { instances: new Set(), hostCount: 0, examples: [] });
  }
  const pids = (await readdir("/proc")).filter((name) => /^[0-9]+$/.test(name));
  for (let at = 0; at < pids.length; at += processesPerTurn) {
    for (const each of pids.slice(at, at + processesPerTurn)) {
      try {
        note(each, wanted, members, ownerOf);
      } catch (error) {
        if (!isHidden(error)) throw error;
        unreadable += 1;
      }
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  // Whatever was read was of this process only if it is still there.
  await readFile(`/proc/${pid}/comm`);
  const namespaces = [...members].map(([type, { instances, hostCount, examples }]) => {
    const others = [...instances].filter((id) => id !== instanceId).sort();
    return {
      type,
      inode: inodeOf(wanted.get(type) ?? ""),
      own: others.length === 0 && hostCount === 0,
      instances: others.map((id) => ({ instanceId: id, name: nameOf(id) ?? id })),
      hostProcesses: { count: hostCount, examples },
    };
  });
  return { namespaces, unreadable };
};
