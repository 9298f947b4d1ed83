import { defaultRetention } from "@bulkhead/inventory";
import type { HostWatch, StateChange } from "./host-watch.ts";
import type { Placer } from "./placer.ts";
import type { ControlPorts, ControlTimes, Term } from "./ports.ts";

export interface DutyParts {
  readonly ports: ControlPorts;
  readonly times: ControlTimes;
  readonly term: Term;
  readonly watch: HostWatch;
  readonly placer: Placer;
}

/** A leader's recurring pieces of work; each may fail, and is done again later. */
export class Duties {
  readonly #parts: DutyParts;
  readonly #touched = new Set<string>();

  constructor(parts: DutyParts) {
    this.#parts = parts;
  }

  /** Targets whose operations may be finished now. */
  touch(targets: readonly string[]): void {
    for (const target of targets) this.#touched.add(target);
  }

  /** Places what waits. True when anything was written. */
  async place(): Promise<boolean> {
    const { ports, times, watch, placer } = this.#parts;
    // If the database was restored, an instance that looks as if it waited may be running somewhere.
    if (!watch.accountsClosed(ports.nowMs(), times.takeoverGraceMs)) return false;
    return placer.pass();
  }

  /** True when events were given their numbers. */
  async publishEvents(): Promise<boolean> {
    const { ports, term } = this.#parts;
    const moved = await ports.store.publishEvents(term.term);
    if (moved > 0) ports.onEvents?.();
    return moved > 0;
  }

  /** Finishes operations of the touched targets. */
  async settleTouched(): Promise<void> {
    const targets = [...this.#touched];
    if (targets.length === 0) return;
    this.#touched.clear();
    try {
      await this.settle(targets);
    } catch (error) {
      this.touch(targets);
      throw error;
    }
  }

  /** Finishes operations of these targets; without them all, also those that nobody reports on. */
  async settle(targets?: readonly string[]): Promise<void> {
    const { ports, term } = this.#parts;
    if ((await ports.store.settleOperations(term.term, targets)) > 0) ports.onEvents?.();
  }

  /** Notices silent agents, and replaces what may be replaced. True when anything was written. */
  async watchHosts(): Promise<boolean> {
    const { ports, times, term, watch } = this.#parts;
    const changes = watch.changes(ports.nowMs());
    if (changes.length > 0) await this.#record(changes);
    // Asked at each one's turn: others may take long, and this one be back.
    const lost = watch.lost().map((agent) => ({ ...agent, quietMs: () => watch.quietMs(agent, ports.nowMs()) }));
    const replaced = await ports.store.replaceLost(term.term, lost, times.driftMs);
    if (replaced > 0) ports.log.warn({ instances: replaced }, "instances of lost hosts are replaced");
    return changes.length + replaced > 0;
  }

  async removeOld(): Promise<void> {
    const { ports, term } = this.#parts;
    const removed = await ports.store.removeOld(term.term, defaultRetention);
    if (Object.values(removed).some((count) => count > 0)) ports.log.debug({ removed }, "old rows removed");
  }

  async #record(changes: readonly StateChange[]): Promise<void> {
    const { ports, term, watch } = this.#parts;
    await ports.store.recordAgents(
      term.term,
      changes.map(({ hostId, isolation, state, foreignClusterId }) => ({
        hostId,
        isolation,
        state,
        foreignClusterId,
        heardMsAgo: null,
        heartbeat: null,
        reachedVersion: null,
      })),
    );
    watch.settle(changes, ports.nowMs());
    for (const { hostId, isolation, state, silentMs } of changes) {
      ports.log.warn({ hostId, isolation, state, silentMs }, "no heartbeats from an agent");
    }
  }
}
