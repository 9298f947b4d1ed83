import { compareEpochs, type Assignment, type Tombstone } from "@bulkhead/contracts";
import { decide, type InstanceMemory, type InstanceView, type Step } from "@bulkhead/lifecycle";
import type { Timer } from "./clock.ts";
import type { DrivenInstance } from "./driven-instance.ts";
import type { HeldRun, InstanceRecord } from "./instance-record.ts";
import { textOf } from "./log.ts";
import type { Run } from "./runtime.ts";
import { ShareKeeper } from "./share-keeper.ts";
import type { StepTools } from "./step-tools.ts";
import { adopt, forgetRequests, lose, settle } from "./steps/ends.ts";
import { pause, resize, resume } from "./steps/changes.ts";
import { start } from "./steps/start.ts";
import { remove, restart, stop } from "./steps/stop.ts";

/** First and longest wait before a step that failed is tried again, in milliseconds. */
const firstRetryMs = 1_000;
const longestRetryMs = 30_000;
/** Steps without rest after which an instance waits for the next event: more would be two rules undoing each other. */
const stepsAtOnce = 64;

/**
 * Drives one instance: one step at a time, each decided anew from what is wanted and what is. Different instances know
 * nothing of each other.
 */
export class InstanceDriver implements DrivenInstance {
  readonly record: InstanceRecord;
  readonly shares: ShareKeeper;
  readonly #tools: StepTools;
  #running: Promise<void> | null = null;
  #again = false;
  #timer: Timer | null = null;
  #failures = 0;
  #starting: { readonly assignment: Assignment; readonly abort: AbortController } | null = null;
  #stopping: { readonly run: Run; readonly graceMs: number } | null = null;
  #problem: string | null = null;
  #step: Step | null = null;

  constructor(record: InstanceRecord, tools: StepTools) {
    this.record = record;
    this.shares = new ShareKeeper(record, tools.log);
    this.#tools = tools;
  }

  /** Why it is not as wanted, where that is neither normal nor reported as its state; or null. */
  get problem(): string | null {
    return this.#problem;
  }

  /** The newest decision. */
  get step(): Step | null {
    return this.#step;
  }

  get busy(): boolean {
    return this.#running !== null;
  }

  get memory(): InstanceMemory | null {
    return this.#tools.ledger.get(this.record.instanceId);
  }

  /** All that decides what happens next. */
  view(): InstanceView {
    const { assignment } = this.record;
    return this.record.view(this.memory, assignment !== null && this.#tools.lease.holds(assignment));
  }

  want(assignment: Assignment | null, tombstones: readonly Tombstone[]): void {
    this.record.want(assignment, tombstones);
    this.shares.notice();
    this.#interrupt();
    this.wake();
  }

  hold(run: Run, options: { adopted: boolean }): HeldRun {
    const held: HeldRun = { run, adopted: options.adopted, ended: null, appliedResources: null };
    this.record.runs.push(held);
    // The document may have changed while it was being started.
    this.shares.notice();
    void this.#watch(held);
    return held;
  }

  /** Something changed: decides and acts until nothing is left to do. Never rejects. */
  wake(): void {
    this.#again = true;
    this.#running ??= this.#drive().finally(() => {
      this.#running = null;
      if (this.#again && !this.#tools.stopped()) this.wake();
    });
  }

  /** Resolves when nothing is in progress. */
  async rest(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  /** Lets go without touching what runs; a start in progress is given up. */
  release(): void {
    this.#timer?.cancel();
    this.#starting?.abort.abort();
  }

  async #drive(): Promise<void> {
    for (let steps = 0; steps < stepsAtOnce && !this.#tools.stopped(); steps += 1) {
      this.#again = false;
      this.#timer?.cancel();
      await forgetRequests(this, this.#tools);
      const step = decide(this.view(), this.#tools.clock.now());
      this.#step = step;
      if (step.bucket === "keep" || step.bucket === "unknown") {
        this.#rest(step);
        return;
      }
      try {
        await this.#take(step);
        this.#failures = 0;
        this.#problem = null;
      } catch (error) {
        this.#fail(step, error);
        return;
      }
    }
    if (this.#tools.stopped()) return;
    this.#again = false;
    this.#tools.log.error(
      { instanceId: this.record.instanceId, step: this.#step?.bucket },
      "instance does not come to rest",
    );
    this.#wakeAfter(longestRetryMs);
  }

  #take(step: Exclude<Step, { bucket: "keep" | "unknown" }>): Promise<void> {
    const tools = this.#tools;
    switch (step.bucket) {
      case "adopt":
        return step.run.ended ? settle(this, tools, step.run) : adopt(this, tools, step.run);
      case "start":
        return this.#start(step.assignment);
      case "stop":
        return stop(this, tools, step);
      case "remove":
        return remove(this, tools, step);
      case "lost":
        return lose(this, tools, step.assignment);
      case "restart":
        return restart(this, tools, step.assignment);
      case "resize":
        return resize(this, tools, step.assignment);
      case "pause":
        return pause(this, tools);
      case "resume":
        return resume(this, tools);
      default: {
        const never: never = step;
        return never;
      }
    }
  }

  async #start(assignment: Assignment): Promise<void> {
    const abort = new AbortController();
    this.#starting = { assignment, abort };
    try {
      await start(this, this.#tools, { assignment, signal: abort.signal });
    } finally {
      this.#starting = null;
    }
  }

  async end(run: Run, graceMs: number): Promise<void> {
    this.#stopping = { run, graceMs };
    try {
      await run.stop(graceMs);
    } finally {
      this.#stopping = null;
    }
  }

  async #watch(held: HeldRun): Promise<void> {
    held.ended = await held.run.ended;
    this.wake();
  }

  /** What is in progress is cut short when the new wish contradicts it. */
  #interrupt(): void {
    const { assignment, tombstones } = this.record;
    const starting = this.#starting;
    if (starting !== null) {
      const wanted =
        assignment !== null &&
        compareEpochs(assignment.epoch, starting.assignment.epoch) === 0 &&
        assignment.desired !== "stopped" &&
        assignment.restartRequest === starting.assignment.restartRequest;
      const ended = tombstones.some(({ epoch }) => compareEpochs(epoch, starting.assignment.epoch) === 0);
      // A document that merely lacks it is no order to end it, nor to leave it half made.
      if (ended || (assignment !== null && !wanted)) starting.abort.abort();
    }
    const stopping = this.#stopping;
    if (stopping !== null) {
      const order = tombstones.find(({ epoch }) => compareEpochs(epoch, stopping.run.key.epoch) === 0);
      if (order !== undefined && order.graceMs < stopping.graceMs) {
        this.#stopping = { ...stopping, graceMs: order.graceMs };
        stopping.run.stop(order.graceMs).catch((error: unknown) => {
          this.#tools.log.warn({ instanceId: this.record.instanceId, err: error }, "shorter stop failed");
        });
      }
    }
  }

  #rest(step: Extract<Step, { bucket: "keep" | "unknown" }>): void {
    if (step.bucket === "unknown") {
      const { assignment } = this.record;
      this.#problem = assignment === null ? null : `${assignment.name} waits for the order to end its older run`;
      return;
    }
    this.#problem =
      step.why === "refused"
        ? `an assignment of ${this.record.assignment?.name} is older than what this host has seen`
        : null;
    if (step.untilMs !== null) this.#wakeAfter(step.untilMs - this.#tools.clock.now());
  }

  #fail(step: Step, error: unknown): void {
    this.#failures += 1;
    const delayMs = Math.min(firstRetryMs * 2 ** Math.min(this.#failures - 1, 10), longestRetryMs);
    const name = this.record.assignment?.name ?? this.record.instanceId;
    this.#problem = `${step.bucket} of ${name} failed: ${textOf(error)}`;
    this.#tools.log.warn({ instanceId: this.record.instanceId, step: step.bucket, err: error, delayMs }, "step failed");
    this.#wakeAfter(delayMs);
  }

  #wakeAfter(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#tools.clock.after(Math.max(delayMs, 0), () => this.wake());
  }
}
