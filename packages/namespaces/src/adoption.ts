import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { readBootId, type HostPaths } from "@bulkhead/host";
import { isAlive, killAll, readExit, readStatus } from "@bulkhead/native-namespaces";
import { endedFrom, endedWithoutRecord } from "./ended.ts";
import { endLeftover } from "./leftover.ts";
import type { KernelLog } from "./kernel-log.ts";
import { oomOf } from "./oom.ts";
import { runPaths, type RunPaths } from "./instance-paths.ts";
import { stopMarker, type RunState } from "./run-state.ts";
import { forgetRun, type FoundRecord, type RunRecord } from "./run-record.ts";

/** True when an instance's cgroup is frozen, by v1's freezer or by cgroup2. */
const isFrozen = (cgroup: Readonly<Record<string, string>>): boolean => {
  const says = (controller: string, file: string, word: string): boolean => {
    const directory = cgroup[controller];
    if (directory === undefined) return false;
    try {
      return readFileSync(join(directory, file), "utf8").trim() === word;
    } catch {
      return false;
    }
  };
  return says("freezer", "freezer.state", "FROZEN") || says("unified", "cgroup.freeze", "1");
};

/** Ends what a start left that was cut off before its entrypoint ran, and every trace of it. */
const undoStart = async (paths: RunPaths, cgroup: Readonly<Record<string, string>>): Promise<void> => {
  await endLeftover({ paths: cgroup });
  forgetRun(paths);
};

/** Its record was written by the agent that started it, or is by the runtime that finds it. */
const recorded = (): Promise<void> => Promise.resolve();

const stateOf = (record: RunRecord, paths: RunPaths, kernelLog: KernelLog): RunState | null => {
  const status = readStatus(paths.runDir);
  if (status === null) return null;
  const { spec } = record.assignment;
  const stopWanted = existsSync(join(paths.runDir, stopMarker));
  const base = { record, paths, startedAtUnixMs: status.startedAtUnixMs, stopWanted, keep: recorded };
  const exit = readExit(paths.runDir);
  if (exit !== null) {
    const context = {
      stopWanted,
      oom: () => oomOf(kernelLog, { paths: record.cgroup }, record),
      leaseMs: spec.leaseMs ?? null,
    };
    return { ...base, paused: false, fate: { ended: endedFrom(exit, context) } };
  }
  if (isAlive(status.shim)) return { ...base, paused: isFrozen(record.cgroup), fate: status };
  killAll({ paths: record.cgroup });
  const startedAt = new Date(status.startedAtUnixMs).toISOString();
  return {
    ...base,
    paused: false,
    fate: {
      ended: endedWithoutRecord(stopWanted ? "StoppedByUser" : "Vanished", { startedAt, seenAtUnixMs: Date.now() }),
    },
  };
};

const rebooted = (record: RunRecord, paths: RunPaths): RunState => {
  const at = Date.now();
  return {
    record,
    paths,
    startedAtUnixMs: at,
    paused: false,
    stopWanted: false,
    keep: recorded,
    fate: {
      ended: endedWithoutRecord("HostRebooted", { startedAt: new Date(at).toISOString(), seenAtUnixMs: at }),
    },
  };
};

/**
 * What became of a recorded run: living, ended, ended with the machine's last boot, or never begun (null, and then
 * every trace of it is removed). A damaged record names nothing that could be adopted, so it goes too.
 */
export const adopt = async (host: HostPaths, found: FoundRecord, kernelLog: KernelLog): Promise<RunState | null> => {
  const paths = runPaths(host, found.key);
  if (found.record === null) {
    forgetRun(paths);
    return null;
  }
  if (found.record.bootId !== readBootId()) return rebooted(found.record, paths);
  const state = stateOf(found.record, paths, kernelLog);
  if (state === null) await undoStart(paths, found.record.cgroup);
  return state;
};
