import {
  compareEpochs,
  type Assignment,
  type Epoch,
  type InstanceId,
  type InstanceReason,
  type ResizeStatus,
  type Tombstone,
} from "@bulkhead/contracts";

/** A run as the runtime shows it, living or ended and not yet released. */
export interface ActualRun {
  readonly epoch: Epoch;
  readonly attempt: number;
  readonly ended: boolean;
  readonly paused: boolean;
  /** this agent watches it and has reported it; false for what a previous agent left */
  readonly adopted: boolean;
}

/** An instance that will not start again by itself. */
export interface Settled {
  readonly state: "stopped" | "failed";
  readonly reason: InstanceReason;
  readonly detail: string | null;
}

/** What the agent remembers of an instance across its own restarts, about the highest epoch it has seen. */
export interface InstanceMemory {
  readonly epoch: Epoch;
  /** number of the newest run; -1 before the first */
  readonly attempt: number;
  /** seen: known and never started; gone: ended by a tombstone and cleaned up */
  readonly phase: "seen" | "starting" | "running" | "ended" | "gone";
  /** generation whose resources the run has, or would start with; a restored control plane may want an older one */
  readonly generation: number;
  /** newest restart request that was obeyed */
  readonly restartRequest: number;
  readonly restarts: number;
  readonly streak: number;
  /** earliest next start, in Unix milliseconds; null when nothing waits */
  readonly retryAtMs: number | null;
  readonly settled: Settled | null;
  readonly resize: ResizeStatus | null;
}

/** Everything that decides what happens to one instance next. */
export interface InstanceView {
  readonly instanceId: InstanceId;
  readonly assignment: Assignment | null;
  /** `answered`: its end was reported since this tombstone arrived */
  readonly tombstones: readonly (Tombstone & { readonly answered: boolean })[];
  readonly runs: readonly ActualRun[];
  readonly memory: InstanceMemory | null;
  /** the host may start what an `onLoss: replace` assignment promises to run once */
  readonly leaseHeld: boolean;
}

/** Names of the buckets, in the order in which they are shown; every instance is in exactly one. */
export const buckets = [
  "adopt",
  "stop",
  "remove",
  "unknown",
  "lost",
  "restart",
  "start",
  "resize",
  "pause",
  "resume",
  "keep",
] as const;
export type Bucket = (typeof buckets)[number];

/** Why an instance is left as it is. */
export type KeepReason = "asWanted" | "settled" | "backoff" | "lease" | "refused" | "gone" | "resizeWaits";

export type Step =
  | { readonly bucket: "adopt"; readonly run: ActualRun }
  | { readonly bucket: "stop"; readonly run: ActualRun | null; readonly graceMs: number }
  | {
      readonly bucket: "remove";
      readonly tombstone: Tombstone;
      /** nothing else of the instance is wanted here */ readonly last: boolean;
    }
  | { readonly bucket: "unknown"; readonly run: ActualRun }
  | { readonly bucket: "start" | "resize" | "pause" | "resume" | "restart" | "lost"; readonly assignment: Assignment }
  | { readonly bucket: "keep"; readonly why: KeepReason; readonly untilMs: number | null };

/** Grace between stop signal and SIGKILL where the spec names none; the schema's default. */
const defaultGraceMs = 10_000;

const same = (a: Epoch, b: Epoch): boolean => compareEpochs(a, b) === 0;
const keep = (why: KeepReason, untilMs: number | null = null): Step => ({ bucket: "keep", why, untilMs });

/** Asked to stop and content with it: nothing starts until `desired` changes. */
const stoppedByUser = (memory: InstanceMemory): boolean => memory.settled?.reason === "StoppedByUser";

const withoutRun = (view: InstanceView, assignment: Assignment, nowMs: number): Step => {
  const memory = view.memory !== null && same(view.memory.epoch, assignment.epoch) ? view.memory : null;
  const graceMs = assignment.spec.stopGraceMs ?? defaultGraceMs;
  if (assignment.desired === "stopped") {
    return memory !== null && stoppedByUser(memory) ? keep("settled") : { bucket: "stop", run: null, graceMs };
  }
  const guarded = (step: Step): Step =>
    assignment.spec.onLoss === "replace" && !view.leaseHeld ? keep("lease") : step;
  const start = guarded({ bucket: "start", assignment });
  if (memory === null || memory.phase === "seen" || memory.phase === "starting") return start;
  // A tombstone ended this very epoch; only a newer assignment starts it again.
  if (memory.phase === "gone") return keep("refused");
  if (assignment.restartRequest > memory.restartRequest) return start;
  if (memory.phase === "running") return { bucket: "lost", assignment };
  if (memory.settled !== null) {
    if (stoppedByUser(memory)) return start;
    return assignment.generation !== memory.generation ? { bucket: "resize", assignment } : keep("settled");
  }
  if (memory.retryAtMs !== null && memory.retryAtMs > nowMs) {
    return assignment.generation !== memory.generation
      ? { bucket: "resize", assignment }
      : keep("backoff", memory.retryAtMs);
  }
  return start;
};

const withRun = (view: InstanceView, assignment: Assignment, run: ActualRun, nowMs: number): Step => {
  const { memory } = view;
  if (assignment.desired === "stopped") {
    return { bucket: "stop", run, graceMs: assignment.spec.stopGraceMs ?? defaultGraceMs };
  }
  if (memory !== null && assignment.restartRequest > memory.restartRequest) return { bucket: "restart", assignment };
  if (memory === null || assignment.generation !== memory.generation) {
    const tried = memory?.resize?.generation === assignment.generation ? memory.resize.outcome : null;
    const waits = tried === "deferred" && memory?.retryAtMs !== null && (memory?.retryAtMs ?? 0) > nowMs;
    if (tried !== "infeasible" && !waits) return { bucket: "resize", assignment };
  }
  if (assignment.desired === "paused" && !run.paused) return { bucket: "pause", assignment };
  if (assignment.desired === "running" && run.paused) return { bucket: "resume", assignment };
  return memory?.resize?.outcome === "deferred" && memory.retryAtMs !== null
    ? keep("resizeWaits", memory.retryAtMs)
    : keep("asWanted");
};

/**
 * The next thing to do for one instance; called again after it is done, until the answer is `keep` or `unknown`.
 * Nothing living is ended without a tombstone for exactly its epoch, `desired: stopped` or a restart request.
 */
export const decide = (view: InstanceView, nowMs: number): Step => {
  const { assignment, tombstones, runs, memory } = view;
  const tombstoneOf = (epoch: Epoch) => tombstones.find((tombstone) => same(tombstone.epoch, epoch));
  const known = (run: ActualRun): boolean =>
    tombstoneOf(run.epoch) !== undefined || (assignment !== null && same(assignment.epoch, run.epoch));

  // Ends come first: they must be in the books before anything new of the same instance begins.
  const finished = runs.find((run) => run.ended && known(run)) ?? runs.find((run) => !run.adopted && known(run));
  if (finished !== undefined) return { bucket: "adopt", run: finished };
  for (const run of runs) {
    const tombstone = tombstoneOf(run.epoch);
    if (tombstone !== undefined) return { bucket: "stop", run, graceMs: tombstone.graceMs };
  }
  const unanswered = tombstones.find((tombstone) => !tombstone.answered);
  if (unanswered !== undefined) {
    const last = runs.length === 0 && (assignment === null || same(assignment.epoch, unanswered.epoch));
    return { bucket: "remove", tombstone: unanswered, last };
  }
  const stranger = runs.find((run) => !known(run));
  if (stranger !== undefined) return { bucket: "unknown", run: stranger };
  if (assignment === null || tombstoneOf(assignment.epoch) !== undefined) return keep("gone");
  if (memory !== null && compareEpochs(assignment.epoch, memory.epoch) < 0) return keep("refused");
  const [run] = runs;
  return run === undefined ? withoutRun(view, assignment, nowMs) : withRun(view, assignment, run, nowMs);
};
