import type { ProcessRef } from "@bulkhead/native-namespaces";
import type { Ended } from "@bulkhead/node";
import type { RunPaths } from "./instance-paths.ts";
import type { RunRecord } from "./run-record.ts";

/** Marks, in the per-boot directory, that the end of a run was asked for; an agent that starts later finds it. */
export const stopMarker = "stop-wanted";

export interface Living {
  readonly shim: ProcessRef;
  readonly init: ProcessRef;
  /** of a run that this agent started: tells of the end before the shim is gone */
  readonly watchEnd?: () => Promise<void>;
}

/** What is known of a run when it is taken into hand: just started, or found by a later agent. */
export interface RunState {
  readonly record: RunRecord;
  readonly paths: RunPaths;
  readonly startedAtUnixMs: number;
  readonly paused: boolean;
  readonly stopWanted: boolean;
  /** puts its record on disk unless it ends at once; settles when that is decided and done, never rejects */
  readonly keep: (ended: Promise<unknown>) => Promise<void>;
  /** its processes, or how it ended already */
  readonly fate: Living | { readonly ended: Ended };
}
