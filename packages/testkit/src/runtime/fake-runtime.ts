import { setImmediate } from "node:timers/promises";
import {
  fleetError,
  type Assignment,
  type HostFacts,
  type InstanceId,
  type Resources,
  type SnapshotId,
  type TakenSnapshot,
} from "@bulkhead/contracts";
import {
  StartFailure,
  systemClock,
  type Clock,
  type LogLine,
  type LogRequest,
  type ResizeOutcome,
  type Run,
  type Runtime,
  type StartRequest,
} from "@bulkhead/node";
import { hostFacts } from "./builders.ts";
import { FakeRun } from "./fake-run.ts";

/** What a test makes the fake do; everything is optional. "hang" waits until the start is given up. */
export interface FakeScript {
  prepare?: (assignment: Assignment) => StartFailure | "hang" | Promise<void> | undefined;
  start?: (request: StartRequest) => StartFailure | "hang" | undefined;
  resize?: (run: FakeRun, resources: Resources) => ResizeOutcome;
}

const aborted = (signal: AbortSignal): Promise<never> => {
  const { promise, reject } = Promise.withResolvers<never>();
  const give = (): void => reject(new StartFailure("RuntimeFailed", "the start was given up"));
  if (signal.aborted) give();
  else signal.addEventListener("abort", give, { once: true });
  return promise;
};

const line = (run: FakeRun, stream: "stdout" | "stderr", text: string): LogLine => ({
  at: run.startedAt,
  stream,
  text: Buffer.from(text),
  complete: true,
});

/**
 * A runtime without a kernel. Programs are named by the first word of the command: `sleep`, `stubborn` (says so, ends only
 * by SIGKILL), `cat` (ends with 0), `exit7` (writes a line to each stream, ends with 7), `oom`, `spin`, `missing`.
 */
export class FakeRuntime implements Runtime {
  readonly isolation = "container";
  readonly script: FakeScript = {};
  /** every start that was begun, in order */
  readonly started: StartRequest[] = [];
  readonly removed: InstanceId[] = [];
  readonly #runs: FakeRun[];
  readonly #snapshots: Map<SnapshotId, TakenSnapshot>;
  readonly #clock: Clock;

  constructor(options: { clock?: Clock; runs?: FakeRun[]; snapshots?: Map<SnapshotId, TakenSnapshot> } = {}) {
    this.#clock = options.clock ?? systemClock();
    this.#runs = options.runs ?? [];
    this.#snapshots = options.snapshots ?? new Map();
  }

  /** What the next agent finds on the same host. */
  successor(): FakeRuntime {
    const next = new FakeRuntime({ clock: this.#clock, runs: this.#runs, snapshots: this.#snapshots });
    Object.assign(next.script, this.script);
    return next;
  }

  /** All runs that were not removed, newest last. */
  get runs(): readonly FakeRun[] {
    return this.#runs;
  }

  /** Newest run of an instance. Throws when it never ran. */
  run(instanceId: InstanceId): FakeRun {
    const found = this.#runs.findLast(({ key }) => key.instanceId === instanceId);
    if (found === undefined) throw new Error(`no run of ${instanceId}`);
    return found;
  }

  living(instanceId: InstanceId): FakeRun[] {
    return this.#runs.filter((run) => run.key.instanceId === instanceId && run.living);
  }

  /** The run is gone as if it had never been, for its agent to miss it. */
  vanish(instanceId: InstanceId): void {
    const index = this.#runs.indexOf(this.run(instanceId));
    this.#runs.splice(index, 1);
  }

  async facts(): Promise<HostFacts> {
    return hostFacts;
  }

  async prepare(assignment: Assignment, signal: AbortSignal): Promise<void> {
    const answer = this.script.prepare?.(assignment);
    if (answer === "hang") await aborted(signal);
    else if (answer instanceof Promise) await answer;
    else if (answer !== undefined) throw answer;
  }

  async start(request: StartRequest, signal: AbortSignal): Promise<Run> {
    this.started.push(request);
    if (signal.aborted) await aborted(signal);
    const answer = this.script.start?.(request);
    if (answer === "hang") await aborted(signal);
    else if (answer !== undefined) throw answer;
    const from = request.assignment.spec.vm?.restoredFrom;
    if (from !== undefined && !this.#snapshots.has(from.snapshotId)) {
      throw new StartFailure("RuntimeFailed", `snapshot ${from.snapshotId} is not on this host`);
    }
    if (this.living(request.key.instanceId).length > 0) {
      throw new StartFailure("RuntimeFailed", `another run of ${request.key.instanceId} lives`);
    }
    const run: FakeRun = new FakeRun({
      ...request,
      clock: this.#clock,
      resize: (resources) => this.script.resize?.(run, resources) ?? { outcome: "applied" },
    });
    if (run.program === "missing") throw new StartFailure("EntrypointNotFound", '"missing" is not in the image');
    this.#runs.push(run);
    void this.#play(run);
    return run;
  }

  async list(): Promise<Run[]> {
    return this.#runs.filter(({ released }) => !released);
  }

  async *logs(instanceId: InstanceId, request: LogRequest, signal: AbortSignal): AsyncIterable<LogLine> {
    const all = this.#runs.filter(({ key }) => key.instanceId === instanceId).flatMap(({ lines }) => lines);
    yield* request.tailLines === undefined ? all : all.slice(all.length - Math.min(request.tailLines, all.length));
    if (!request.follow || signal.aborted) return;
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  }

  async removeShare(shareId: string): Promise<void> {
    const user = this.#runs.find(({ assignment }) => assignment.shares?.some((share) => share.shareId === shareId));
    if (user !== undefined) throw fleetError("SHARE_IN_USE", `instance ${user.key.instanceId} uses it`);
  }

  async snapshot(instanceId: InstanceId, snapshotId: SnapshotId): Promise<TakenSnapshot> {
    const there = this.#snapshots.get(snapshotId);
    if (there !== undefined) return there;
    if (this.living(instanceId).length === 0) throw fleetError("STATE_CONFLICT", "the instance is not running");
    const taken: TakenSnapshot = { engine: "kvm", sizeBytes: 1_000_000, stoodStillMs: 1 };
    this.#snapshots.set(snapshotId, taken);
    return taken;
  }

  async verifySnapshot(snapshotId: SnapshotId): Promise<void> {
    if (!this.#snapshots.has(snapshotId)) throw fleetError("NOT_FOUND", `snapshot ${snapshotId} is not on this host`);
  }

  async removeSnapshot(snapshotId: SnapshotId): Promise<void> {
    const user = this.#runs.find(
      ({ living, assignment }) => living && assignment.spec.vm?.restoredFrom?.snapshotId === snapshotId,
    );
    if (user !== undefined) throw fleetError("SNAPSHOT_IN_USE", `${user.assignment.name} runs from its files`);
    this.#snapshots.delete(snapshotId);
  }

  async remove(instanceId: InstanceId): Promise<void> {
    if (this.living(instanceId).length > 0) throw new Error(`${instanceId} still runs`);
    this.removed.push(instanceId);
    for (const run of this.#runs.filter(({ key }) => key.instanceId === instanceId)) {
      this.#runs.splice(this.#runs.indexOf(run), 1);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // Runs outlive their agent; there is nothing else.
  }

  async #play(run: FakeRun): Promise<void> {
    await setImmediate();
    if (run.program === "cat") run.end({ exitCode: 0 });
    if (run.program === "oom") run.end({ signal: 9, oomKilled: true });
    if (run.program === "stubborn") run.lines.push(line(run, "stdout", "deaf"));
    if (run.program === "exit7") {
      run.lines.push(line(run, "stdout", "to stdout"), line(run, "stderr", "to stderr"));
      run.end({ exitCode: 7 });
    }
  }
}
