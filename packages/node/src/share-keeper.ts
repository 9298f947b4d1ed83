import { isDeepStrictEqual } from "node:util";
import type { ShareOutcome } from "@bulkhead/contracts";
import type { InstanceRecord } from "./instance-record.ts";
import type { Log } from "./log.ts";

/** Detached shares of one instance that are remembered. */
const leftMax = 64;

/** Brings what one running instance sees in line with its assignment; one change at a time. */
export class ShareKeeper {
  readonly #record: InstanceRecord;
  readonly #log: Log;
  /** how shares were detached: whoever asks later, because an answer was lost, is told again */
  readonly #left = new Map<string, ShareOutcome>();
  #work: Promise<unknown> = Promise.resolve();

  constructor(record: InstanceRecord, log: Log) {
    this.#record = record;
    this.#log = log;
  }

  /** Resolves with what came of each share when the run sees what is wanted now; nothing runs: nothing to do. */
  settle(): Promise<ShareOutcome[]> {
    const next = this.#work.then(() => this.#apply());
    this.#work = next.catch(() => undefined);
    return next;
  }

  /** The same without waiting, when there is a difference: what fails is tried again by whoever ordered it. */
  notice(): void {
    const { adopted, assignment } = this.#record;
    const now = adopted?.run.assignment.shares ?? [];
    if (adopted === undefined || assignment === null || isDeepStrictEqual(now, assignment.shares ?? [])) return;
    const { instanceId } = this.#record;
    this.settle().catch((err: unknown) => this.#log.warn({ err, instanceId }, "shares not applied"));
  }

  async #apply(): Promise<ShareOutcome[]> {
    const { adopted, assignment } = this.#record;
    if (adopted === undefined || assignment === null) return [];
    const wanted = assignment.shares ?? [];
    const outcomes = await adopted.run.reshare(wanted);
    for (const outcome of outcomes) {
      this.#left.delete(outcome.shareId);
      if (outcome.state === "detached") this.#left.set(outcome.shareId, outcome);
    }
    for (const shareId of [...this.#left.keys()].slice(0, -leftMax)) this.#left.delete(shareId);
    const told = new Set(outcomes.map(({ shareId }) => shareId));
    return [...outcomes, ...[...this.#left.values()].filter(({ shareId }) => !told.has(shareId))];
  }
}
