import type { AgentName } from "@bulkhead/inventory";
import type { ControlPorts, Term } from "./ports.ts";

/** An era this far above ours is no restore of ours but nonsense, and must not use up the numbers. */
const leapMax = 1_000;

/** How far an agent says it got. */
export interface Reached {
  readonly era: number;
  readonly version: number;
}

/** The era in force, and its change when an agent turns out to know more than the database. */
export class Era {
  readonly #ports: ControlPorts;
  readonly #term: Term;
  #value: number;
  /** after a change, everyone is to be told */
  readonly #onChange: () => void;

  constructor(parts: { ports: ControlPorts; term: Term; era: number; onChange: () => void }) {
    this.#ports = parts.ports;
    this.#term = parts.term;
    this.#value = parts.era;
    this.#onChange = parts.onChange;
  }

  get value(): number {
    return this.#value;
  }

  /** An agent is ahead of the database, which was restored: starts an era above the agent's, and its document's version. */
  async restored(agent: AgentName, reached: Reached): Promise<void> {
    const { store, log } = this.#ports;
    if (reached.era > this.#value + leapMax) {
      log.error({ ...agent, seenEra: reached.era, era: this.#value }, "an agent claims an absurd era; ignored");
      return;
    }
    const era = await store.startEra({
      term: this.#term.term,
      seenEra: reached.era,
      hostId: agent.hostId,
      reason: "an agent knows more than the database, which was restored from an older state",
    });
    await store.liftVersion(this.#term.term, { ...agent, version: reached.version });
    if (era === this.#value) return;
    log.warn({ ...agent, era, before: this.#value, reached }, "the database was restored: a new era begins");
    this.#value = era;
    this.#onChange();
  }

  /** Lifts a document's version above what its agent reached under an earlier era. */
  lift(agent: AgentName, version: number): Promise<void> {
    return this.#ports.store.liftVersion(this.#term.term, { ...agent, version });
  }
}
