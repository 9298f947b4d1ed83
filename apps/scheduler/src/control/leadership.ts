import type { ControlPorts, ControlTimes, Term } from "./ports.ts";
import { isDeadHolder, ownHolder } from "./holder.ts";
import { WorkLoop } from "./work-loop.ts";

export interface LeadershipParts {
  readonly ports: ControlPorts;
  readonly times: ControlTimes;
  /** begins what only a leader does */
  readonly begin: (term: Term) => Promise<void>;
  readonly end: () => Promise<void>;
}

interface Held {
  readonly term: number;
  /** of the monotonic clock: by then the office is given up, before the lease can be another's */
  deadlineMs: number;
}

/**
 * Takes the lease in Postgres when it is free and keeps it. Database time decides who holds it; this process's
 * monotonic clock decides when to stop acting, always earlier: at four fifths of the lease, counted from before the
 * renewal was sent.
 */
export class Leadership {
  readonly #ports: ControlPorts;
  readonly #times: ControlTimes;
  readonly #parts: LeadershipParts;
  readonly #holder: string;
  readonly #loop: WorkLoop;
  #held: Held | undefined;
  #deposed: Promise<void> = Promise.resolve();
  #watchdog: NodeJS.Timeout | undefined;

  constructor(parts: LeadershipParts, holder = ownHolder()) {
    const { ports, times } = parts;
    this.#parts = parts;
    this.#ports = ports;
    this.#times = times;
    this.#holder = holder;
    this.#loop = new WorkLoop(() => this.#tend(), {
      name: "leadership",
      everyMs: times.leaseTtlMs / 3,
      log: ports.log,
    });
    this.#loop.wake();
  }

  get leads(): boolean {
    return this.#held !== undefined && this.#valid(this.#held);
  }

  /** The term was found to be over: stop acting, and try for a new one. */
  lost(): void {
    this.#depose("another scheduler leads, or the lease ran out");
    this.#loop.wake();
  }

  /** Ends the office and gives the lease back. */
  async stop(): Promise<void> {
    await this.#loop.stop();
    const held = this.#held;
    this.#depose("stopping");
    await this.#deposed;
    if (held === undefined) return;
    await this.#ports.store.releaseLeadership({ term: held.term, holder: this.#holder }).catch((err: unknown) => {
      this.#ports.log.warn({ err }, "lease not given back; a successor waits until it runs out");
    });
  }

  #valid(held: Held): boolean {
    return this.#held === held && this.#ports.nowMs() < held.deadlineMs;
  }

  #deadline(askedAtMs: number): number {
    return askedAtMs + this.#times.leaseTtlMs * 0.8;
  }

  async #tend(): Promise<void> {
    const { store, nowMs } = this.#ports;
    const { leaseTtlMs: ttlMs } = this.#times;
    const askedAtMs = nowMs();
    const held = this.#held;
    if (held === undefined) return this.#stand();
    if (await store.renewLeadership({ term: held.term, holder: this.#holder, ttlMs })) {
      held.deadlineMs = this.#deadline(askedAtMs);
      this.#arm(held);
      return;
    }
    this.#depose("another scheduler leads, or the lease ran out");
    await this.#stand();
  }

  async #stand(): Promise<void> {
    const { store, nowMs, log } = this.#ports;
    // A term's work must have ended before the next begins in the same process.
    await this.#deposed;
    const before = await store.leaseHolder();
    const dead = before !== null && before !== this.#holder && isDeadHolder(before) ? { deadHolder: before } : {};
    const askedAtMs = nowMs();
    const term = await store.acquireLeadership({ holder: this.#holder, ttlMs: this.#times.leaseTtlMs, ...dead });
    if (term === null) return;
    const { clusterId } = await store.cluster();
    const held: Held = { term, deadlineMs: this.#deadline(askedAtMs) };
    this.#held = held;
    this.#arm(held);
    log.info({ term, predecessor: before, deadPredecessor: "deadHolder" in dead }, "leading");
    try {
      await this.#parts.begin({ term, clusterId, startedAtMs: nowMs(), valid: () => this.#valid(held) });
    } catch (error) {
      this.#depose("the term could not begin");
      throw error;
    }
  }

  #arm(held: Held): void {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(
      () => {
        if (this.#held === held && !this.#valid(held)) this.#depose("the lease could not be renewed in time");
        else if (this.#held === held) this.#arm(held);
      },
      Math.max(1, held.deadlineMs - this.#ports.nowMs()),
    );
  }

  #depose(reason: string): void {
    const held = this.#held;
    if (held === undefined) return;
    this.#held = undefined;
    clearTimeout(this.#watchdog);
    this.#ports.log.info({ term: held.term, reason }, "no longer leading");
    this.#deposed = this.#parts.end();
  }
}
