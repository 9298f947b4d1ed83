import { globSync, readFileSync, renameSync, rmdirSync, writeFileSync } from "node:fs";
import { mkdir, open, readdir, readFile, rename } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Assignment, InstanceId } from "@bulkhead/contracts";
import type { HostPaths, UidRange } from "@bulkhead/host";
import { isAlive, readExit, readStatus, removeTree } from "@bulkhead/native-namespaces";
import { isRecordedAssignment, type ProcessPlan, type RunKey } from "@bulkhead/node";
import { instancePaths, parseRunName, runPaths, type RunPaths } from "./instance-paths.ts";

/** What an agent that starts later must know of a run that it did not start. */
export interface RunRecord {
  readonly bootId: string;
  readonly assignment: Assignment;
  readonly attempt: number;
  readonly cgroup: Readonly<Record<string, string>>;
  readonly process: ProcessPlan;
  readonly uidRange: UidRange;
  /** CPUs of its own or chosen for it; empty: the shared ones */
  readonly cpuIds: readonly number[];
  /** it may use the shared CPUs besides those of its own */
  readonly sharesCpus?: boolean;
}

const isRecord = (value: unknown): value is RunRecord =>
  typeof value === "object" &&
  value !== null &&
  "assignment" in value &&
  isRecordedAssignment(value.assignment) &&
  "bootId" in value &&
  typeof value.bootId === "string" &&
  "cgroup" in value &&
  typeof value.cgroup === "object" &&
  "process" in value &&
  typeof value.process === "object";

/** Key of a record's run. */
export const keyOf = (record: Pick<RunRecord, "assignment" | "attempt">): RunKey => ({
  instanceId: record.assignment.instanceId,
  epoch: record.assignment.epoch,
  attempt: record.attempt,
});

/** Two writers of one record do not meet in one draft. */
let drafts = 0;

/** Writes a record to disk whole, and then makes it durable; another agent never sees half of one. */
export const writeRecord = async (path: string, record: RunRecord): Promise<void> => {
  const draft = `${path}.${(drafts += 1)}.new`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  const file = await open(draft, "w", 0o600);
  try {
    await file.writeFile(JSON.stringify(record));
    await rename(draft, path);
    await file.datasync();
  } finally {
    await file.close();
  }
};

/**
 * Writes the record of the per-boot directory. It lies on a tmpfs, where a write waits for no disk, and every start
 * waits for it: so it is done at once.
 */
export const writeLiveRecord = (paths: RunPaths, record: RunRecord): void => {
  const draft = `${paths.liveRecord}.new`;
  writeFileSync(draft, JSON.stringify(record), { mode: 0o600 });
  renameSync(draft, paths.liveRecord);
};

/** Removes every trace of a run but its log: some ten small files, which costs less at once than by the thread pool. */
export const forgetRun = (paths: RunPaths): void => {
  removeTree(paths.record);
  removeTree(paths.runDir);
  try {
    rmdirSync(dirname(paths.runDir));
  } catch {
    // Another run of the same instance is still below, or it was never made.
  }
};

/** One run found on this host: its record, or null when it is damaged or missing. */
export interface FoundRecord {
  readonly key: RunKey;
  readonly record: RunRecord | null;
}

/** What an agent wrote whose release knows another record than this one. */
export class UnreadableRecord extends Error {
  override readonly name = "UnreadableRecord";

  constructor(path: string) {
    super(`${path} is of another release, which alone can take over what runs there; start that, or remove the file`);
  }
}

/** Null when it is damaged or missing. Rejects {@link UnreadableRecord}, and what the disk says. */
export const readRecord = async (path: string): Promise<RunRecord | null> => {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    if (isRecord(value)) return value;
    throw new UnreadableRecord(path);
  } catch (error) {
    if (error instanceof SyntaxError || (error instanceof Error && "code" in error && error.code === "ENOENT")) {
      return null;
    }
    throw error;
  }
};

/**
 * Instances of this boot by the names of the cgroups that their records say they have. Of the container agent's only: no
 * other makes cgroups before it knows for whom.
 */
export const ownersOfCgroups = (host: HostPaths): Map<string, InstanceId> => {
  const owners = new Map<string, InstanceId>();
  for (const path of globSync(join(host.runInstancesOf.container, "*", "*", "record.json"))) {
    try {
      const record: unknown = JSON.parse(readFileSync(path, "utf8"));
      if (!isRecord(record)) continue;
      for (const cgroup of Object.values(record.cgroup)) owners.set(basename(cgroup), record.assignment.instanceId);
    } catch {
      // It has just been forgotten.
    }
  }
  return owners;
};

const keysBelow = async (directory: string, instanceId: InstanceId, suffix: string): Promise<RunKey[]> => {
  const names = await readdir(directory).catch(() => []);
  return names.flatMap((name) => {
    const parsed = name.endsWith(suffix) ? parseRunName(name.slice(0, name.length - suffix.length)) : null;
    return parsed === null ? [] : [{ instanceId, ...parsed }];
  });
};

/** Its guardian keeps it, whoever can read of it. */
const isLive = (runDir: string): boolean => {
  const status = readStatus(runDir);
  return status !== null && readExit(runDir) === null && isAlive(status.shim);
};

/**
 * Every run this host knows of: those of this boot by their per-boot directory, others by their record on disk. Rejects
 * {@link UnreadableRecord} for one that runs: neither it nor a second one in its place is what was asked for.
 */
export const findRecords = async (host: HostPaths): Promise<{ runs: FoundRecord[]; instances: InstanceId[] }> => {
  const [live, instances] = (await Promise.all([readdir(host.runInstances), readdir(host.instances)])) as [
    InstanceId[],
    InstanceId[],
  ];
  const runs = new Map<string, FoundRecord>();
  const note = async (key: RunKey, path: (paths: RunPaths) => string): Promise<void> => {
    const paths = runPaths(host, key);
    if (runs.has(paths.runDir)) return;
    // What runs is never ended for what its record says.
    const record = await readRecord(path(paths)).catch((error: unknown) => {
      if (error instanceof UnreadableRecord && !isLive(paths.runDir)) return null;
      throw error;
    });
    runs.set(paths.runDir, { key, record });
  };
  for (const instanceId of live) {
    for (const key of await keysBelow(join(host.runInstances, instanceId), instanceId, "")) {
      await note(key, ({ liveRecord }) => liveRecord);
    }
  }
  for (const instanceId of instances) {
    for (const key of await keysBelow(instancePaths(host, instanceId).runs, instanceId, ".json")) {
      await note(key, ({ record }) => record);
    }
  }
  return { runs: [...runs.values()], instances };
};
