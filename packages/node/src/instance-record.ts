import {
  compareEpochs,
  type Assignment,
  type Epoch,
  type ExitStatus,
  type InstanceId,
  type InstanceReason,
  type InstanceReport,
  type InstanceState,
  type Resources,
  type Tombstone,
} from "@bulkhead/contracts";
import type { InstanceMemory, InstanceView } from "@bulkhead/lifecycle";
import type { ReportDraft } from "./journal.ts";
import type { Ended, Run } from "./runtime.ts";

/** A run of the runtime as its agent holds it. */
export interface HeldRun {
  readonly run: Run;
  adopted: boolean;
  ended: Ended | null;
  /** what `resize` last applied, to skip one that changes nothing; null when a previous agent may have changed it */
  appliedResources: Resources | null;
}

/** How the newest run of an epoch ended, for the report that its tombstone was carried out. */
export interface LastEnd {
  readonly epoch: Epoch;
  readonly exit: ExitStatus | null;
  readonly reason: InstanceReason;
  readonly detail: string | null;
}

const keyOf = ({ era, n }: Epoch): string => `${era}.${n}`;

/** Everything the agent holds in memory about one instance. What must survive the agent is in the ledger. */
export class InstanceRecord {
  readonly instanceId: InstanceId;
  assignment: Assignment | null = null;
  tombstones: readonly Tombstone[] = [];
  readonly runs: HeldRun[] = [];
  /** state last reported; null before the first report of this agent */
  state: InstanceState | null = null;
  contractHeld: boolean | null = null;
  lastEnd: LastEnd | null = null;
  /** epochs whose tombstones were reported as carried out since they arrived */
  readonly #answered = new Set<string>();

  constructor(instanceId: InstanceId) {
    this.instanceId = instanceId;
  }

  /** Takes what the document says now. Tombstones that came again are to be answered again. */
  want(assignment: Assignment | null, tombstones: readonly Tombstone[]): void {
    this.assignment = assignment;
    this.tombstones = tombstones;
    this.#answered.clear();
  }

  answer(epoch: Epoch): void {
    this.#answered.add(keyOf(epoch));
  }

  get living(): HeldRun | undefined {
    return this.runs.find(({ ended }) => ended === null);
  }

  /** Living run that this agent answers for. */
  get adopted(): HeldRun | undefined {
    return this.runs.find(({ ended, adopted }) => ended === null && adopted);
  }

  /** True when neither document nor runtime know it any more, so that it can be forgotten. */
  get idle(): boolean {
    return this.assignment === null && this.tombstones.length === 0 && this.runs.length === 0;
  }

  held(epoch: Epoch, attempt: number): HeldRun | undefined {
    return this.runs.find(({ run: { key } }) => compareEpochs(key.epoch, epoch) === 0 && key.attempt === attempt);
  }

  drop(held: HeldRun): void {
    const index = this.runs.indexOf(held);
    if (index !== -1) this.runs.splice(index, 1);
  }

  view(memory: InstanceMemory | null, leaseHeld: boolean): InstanceView {
    return {
      instanceId: this.instanceId,
      assignment: this.assignment,
      tombstones: this.tombstones.map((tombstone) => ({
        ...tombstone,
        answered: this.#answered.has(keyOf(tombstone.epoch)),
      })),
      runs: this.runs.map(({ run, adopted, ended }) => ({
        epoch: run.key.epoch,
        attempt: run.key.attempt,
        ended: ended !== null,
        paused: run.paused,
        adopted,
      })),
      memory,
      leaseHeld,
    };
  }

  /** A report about `memory`'s epoch with everything that is not news filled in. */
  draft(
    news: Pick<InstanceReport, "state"> & Partial<Omit<ReportDraft, "state" | "instanceId">>,
    memory: InstanceMemory,
    nowMs: number,
  ): ReportDraft {
    const traceparent = news.traceparent ?? this.assignment?.traceparent;
    const machine = this.held(memory.epoch, memory.attempt)?.run.machine;
    return {
      instanceId: this.instanceId,
      epoch: memory.epoch,
      attempt: Math.max(memory.attempt, 0),
      generation: memory.generation,
      reason: null,
      detail: null,
      exit: null,
      resize: memory.resize,
      contractHeld: this.contractHeld,
      restarts: memory.restarts,
      at: new Date(nowMs).toISOString(),
      ...(machine === undefined ? {} : { machine }),
      ...news,
      ...(traceparent === undefined ? {} : { traceparent }),
    };
  }
}
