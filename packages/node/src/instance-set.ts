import type { Heartbeat, InstanceId } from "@bulkhead/contracts";
import { buckets, reconcile, type Bucket } from "@bulkhead/lifecycle";
import { checkContract } from "./contract-check.ts";
import type { DesiredStore } from "./desired-store.ts";
import { InstanceDriver } from "./instance.ts";
import { InstanceRecord } from "./instance-record.ts";
import type { Run } from "./runtime.ts";
import type { StepTools } from "./step-tools.ts";

/** All instances this agent knows, each with its driver. */
export class InstanceSet {
  readonly #drivers = new Map<InstanceId, InstanceDriver>();
  readonly #store: DesiredStore;
  readonly #tools: StepTools;

  constructor(store: DesiredStore, tools: StepTools) {
    this.#store = store;
    this.#tools = tools;
  }

  get all(): Iterable<InstanceDriver> {
    return this.#drivers.values();
  }

  /** Number of instances with something running. */
  get living(): number {
    let count = 0;
    for (const { record } of this.all) if (record.living !== undefined) count += 1;
    return count;
  }

  /** Runs that no order covers; they are kept until someone decides. */
  get unknown(): Heartbeat["unknown"] {
    return [...this.all].flatMap(({ record, step }) => {
      if (step?.bucket !== "unknown") return [];
      const held = record.held(step.run.epoch, step.run.attempt);
      if (held === undefined) return [];
      const { key, assignment } = held.run;
      return [{ instanceId: key.instanceId, name: assignment.name, epoch: key.epoch }];
    });
  }

  /** Newest era among the runs; 0 without any. */
  get highestEra(): number {
    let highest = 0;
    for (const { record } of this.all) {
      for (const { run } of record.runs) highest = Math.max(highest, run.key.epoch.era);
    }
    return highest;
  }

  get problems(): string[] {
    return [...this.all].flatMap(({ problem }) => (problem === null ? [] : [problem]));
  }

  /** How many instances are in which bucket now; empty ones are left out. */
  get summary(): Partial<Record<Bucket, number>> {
    const sorted = reconcile(
      [...this.all].map((driver) => driver.view()),
      this.#tools.clock.now(),
    );
    const filled = buckets.flatMap((bucket) => (sorted[bucket].size === 0 ? [] : [[bucket, sorted[bucket].size]]));
    return Object.fromEntries(filled) as Partial<Record<Bucket, number>>;
  }

  get(instanceId: InstanceId): InstanceDriver | undefined {
    return this.#drivers.get(instanceId);
  }

  /** Puts what the runtime had under watch, before anything is decided. */
  found(runs: readonly Run[]): void {
    for (const run of runs) this.#driverOf(run.key.instanceId).hold(run, { adopted: false });
  }

  /** Hands these instances what the document says of them now. */
  want(touched: Iterable<InstanceId>): void {
    for (const instanceId of touched) {
      this.#driverOf(instanceId).want(this.#store.assignmentOf(instanceId), this.#store.tombstonesOf(instanceId));
    }
    this.#forget();
  }

  /** Reads back one instance's limits from the kernel. */
  check(driver: InstanceDriver): void {
    checkContract(driver, this.#tools);
  }

  wakeAll(matches: (driver: InstanceDriver) => boolean): void {
    for (const driver of this.all) if (matches(driver)) driver.wake();
  }

  /** Lets go of all; nothing that runs is touched. */
  release(): void {
    for (const driver of this.all) driver.release();
  }

  #driverOf(instanceId: InstanceId): InstanceDriver {
    let driver = this.#drivers.get(instanceId);
    if (driver === undefined) {
      driver = new InstanceDriver(new InstanceRecord(instanceId), this.#tools);
      this.#drivers.set(instanceId, driver);
    }
    return driver;
  }

  #forget(): void {
    for (const [instanceId, { record, busy }] of this.#drivers) {
      if (record.idle && !busy) this.#drivers.delete(instanceId);
    }
  }
}
