import {
  fleetError,
  type AssignedShare,
  type Assignment,
  type InstanceView,
  type ShareOutcome,
  type ViewInstance,
} from "@bulkhead/contracts";
import type { ContractCheck, Ended, ExecSession, JailedRun, ResizeOutcome, Run, RunKey, Usage } from "@bulkhead/node";

/**
 * A machine that this agent finds and knows too little of: its record is lost, or another release's. It runs on, for what
 * an agent cannot read is no order to end it. Its jail's record says whose it is; its guest is reached by nobody.
 */
export class UnreadMachine implements Run {
  readonly key: RunKey;
  readonly startedAt: string;
  readonly ended: Promise<Ended>;
  readonly #jailed: JailedRun;
  readonly #why: string;
  readonly #released: (run: UnreadMachine) => void;

  constructor(jailed: JailedRun, why: string, released: (run: UnreadMachine) => void) {
    this.key = jailed.key;
    this.startedAt = jailed.startedAt;
    this.ended = jailed.ended;
    this.#jailed = jailed;
    this.#why = why;
    this.#released = released;
  }

  /** as its jail has it, whose limits are those of the monitor */
  get assignment(): Assignment {
    return this.#jailed.assignment;
  }

  get paused(): boolean {
    return this.#jailed.paused;
  }

  /** Its guest cannot be told to end by itself. */
  stop(): Promise<void> {
    return this.#jailed.stop(0);
  }

  signal(): boolean {
    return false;
  }

  pause(): Promise<void> {
    return this.#jailed.pause();
  }

  resume(): Promise<void> {
    return this.#jailed.resume();
  }

  resize(): Promise<ResizeOutcome> {
    return Promise.resolve({ outcome: "infeasible", detail: this.#why });
  }

  usage(): Usage {
    return this.#jailed.usage();
  }

  checkContract(): ContractCheck {
    const { violations } = this.#jailed.checkContract();
    return this.#jailed.pid === null
      ? { held: violations.length === 0, violations }
      : { held: false, violations: [...violations, this.#why] };
  }

  reshare(wanted: readonly AssignedShare[]): Promise<ShareOutcome[]> {
    const { shares = [] } = this.assignment;
    const ids = new Set([...shares, ...wanted].map(({ shareId }) => shareId));
    return Promise.resolve(
      [...ids].map((shareId) => ({ shareId, state: "failed", busy: false, detail: this.#why }) as const),
    );
  }

  view(from: ViewInstance["seccompFrom"]): Promise<InstanceView> {
    return this.#jailed.view(from);
  }

  exec(): Promise<ExecSession> {
    return Promise.reject(fleetError("STATE_CONFLICT", this.#why));
  }

  async release(): Promise<void> {
    await this.#jailed.release();
    this.#released(this);
  }
}
