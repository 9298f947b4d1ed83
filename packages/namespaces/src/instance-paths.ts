import { join } from "node:path";
import type { Digest, Epoch, InstanceId } from "@bulkhead/contracts";
import type { HostPaths } from "@bulkhead/host";
import type { RunKey } from "@bulkhead/node";

/** Where one instance lives on this host, across its runs. */
export interface InstancePaths {
  readonly root: string;
  /** its writable layers, one per image it has run; they survive restarts and go with the instance */
  readonly scratches: string;
  readonly logs: string;
  readonly runs: string;
}

/** Where one run lives: its record on disk, and what dies with the boot. */
export interface RunPaths {
  readonly name: string;
  /** record on disk: after a restart of the machine it says that the run existed */
  readonly record: string;
  /** record in the per-boot directory: there before the run begins, so that whatever began is found */
  readonly liveRecord: string;
  readonly log: string;
  readonly runDir: string;
}

/** `<era>.<n>.<attempt>`: names a run's record, log and per-boot directory. */
export const runName = ({ epoch, attempt }: RunKey): string => `${epoch.era}.${epoch.n}.${attempt}`;

/** Epoch and attempt of a run's name, or null for another file. */
export const parseRunName = (name: string): { epoch: Epoch; attempt: number } | null => {
  const match = /^(\d+)\.(\d+)\.(\d+)$/.exec(name);
  return match === null ? null : { epoch: { era: Number(match[1]), n: Number(match[2]) }, attempt: Number(match[3]) };
};

/** Directories that every instance has in its own. No process of an instance ever sees them, only what lies in them. */
export const directoriesOfInstance = ["scratch", "logs"] as const;

export const instancePaths = (host: Pick<HostPaths, "instances">, instanceId: InstanceId): InstancePaths => {
  // Every start asks for these many times, and joining takes longer than the rest of it.
  const root = `${host.instances}/${instanceId}`;
  return { root, scratches: `${root}/scratch`, logs: `${root}/logs`, runs: `${root}/runs` };
};

export const runPaths = (host: HostPaths, key: RunKey): RunPaths => {
  const { logs, runs } = instancePaths(host, key.instanceId);
  const name = runName(key);
  const runDir = `${host.runInstances}/${key.instanceId}/${name}`;
  return {
    name,
    liveRecord: `${runDir}/record.json`,
    record: `${runs}/${name}.json`,
    log: `${logs}/${name}.log`,
    runDir,
  };
};

const scratchPrefix = "sha256-";

/** Where an instance keeps what it writes on top of one image. */
export const scratchOf = (host: Pick<HostPaths, "instances">, instanceId: InstanceId, image: Digest): string =>
  join(instancePaths(host, instanceId).scratches, image.replace("sha256:", scratchPrefix));

/** The image a scratch directory is for, from its name; null for another name. */
export const imageOfScratch = (name: string): Digest | null =>
  name.startsWith(scratchPrefix) ? (name.replace(scratchPrefix, "sha256:") as Digest) : null;
