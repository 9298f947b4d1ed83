import { open, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { Assignment, type InstanceId } from "@bulkhead/contracts";
import type { HostPaths, UidRange } from "@bulkhead/host";
import type { RunKey } from "@bulkhead/node";
import { Compile } from "typebox/compile";
import type { ProcessPlan } from "./image-process.ts";
import { instancePaths, parseRunName, runPaths } from "./instance-paths.ts";

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
}

const checkAssignment = Compile(Assignment);

const isRecord = (value: unknown): value is RunRecord =>
  typeof value === "object" &&
  value !== null &&
  "assignment" in value &&
  checkAssignment.Check(value.assignment) &&
  "bootId" in value &&
  typeof value.bootId === "string" &&
  "cgroup" in value &&
  typeof value.cgroup === "object" &&
  "process" in value &&
  typeof value.process === "object";

/** Key of a record's run. */
export const keyOf = (record: RunRecord): RunKey => ({
  instanceId: record.assignment.instanceId,
  epoch: record.assignment.epoch,
  attempt: record.attempt,
});

/**
 * Writes a record whole: another agent never sees half of one. Not synced on the path of a start: a power cut ends the
 * run as well, and `sync` afterwards is enough to know after a restart that it existed.
 */
export const writeRecord = async (path: string, record: RunRecord, options: { sync: boolean }): Promise<void> => {
  const draft = `${path}.new`;
  const file = await open(draft, "w", 0o600);
  try {
    await file.writeFile(JSON.stringify(record));
    if (options.sync) await file.datasync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
};

/** Makes a written record durable; one that was removed meanwhile needs nothing. */
export const syncRecord = async (path: string): Promise<void> => {
  const file = await open(path, "r").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return null;
    throw error;
  });
  if (file === null) return;
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
};

/** One record found on disk: whole, or damaged and then without content. */
export interface FoundRecord {
  readonly key: RunKey;
  readonly record: RunRecord | null;
}

const readRecord = async (path: string): Promise<RunRecord | null> => {
  try {
    const value: unknown = JSON.parse(await readFile(path, "utf8"));
    return isRecord(value) ? value : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
};

/** Every run recorded on this host's disk, and ids of instance directories without any run. */
export const findRecords = async (host: HostPaths): Promise<{ runs: FoundRecord[]; instances: InstanceId[] }> => {
  const instances = (await readdir(host.instances)) as InstanceId[];
  const runs = await Promise.all(
    instances.map(async (instanceId) => {
      const directory = instancePaths(host, instanceId).runs;
      const names = await readdir(directory).catch(() => []);
      const found: FoundRecord[] = [];
      for (const name of names) {
        const parsed = parseRunName(name.replace(/\.json$/, ""));
        if (parsed === null) {
          await rm(join(directory, name), { force: true });
          continue;
        }
        const key = { instanceId, ...parsed };
        found.push({ key, record: await readRecord(runPaths(host, key).record) });
      }
      return found;
    }),
  );
  return { runs: runs.flat(), instances };
};
