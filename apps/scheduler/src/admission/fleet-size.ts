import type { Isolation } from "@bulkhead/contracts";
import type { LargestCapacity } from "./spec-rules.ts";

/** How long a size read from the database is believed, in milliseconds. */
const keptMs = 2_000;

interface Known {
  readonly largest: LargestCapacity | undefined;
  readonly untilMs: number;
}

/** The largest host of each kind, remembered for moments: admission asks with every request. */
export class FleetSize {
  readonly #read: (isolation: Isolation) => Promise<LargestCapacity | undefined>;
  readonly #nowMs: () => number;
  readonly #known = new Map<Isolation, Known>();

  constructor(read: (isolation: Isolation) => Promise<LargestCapacity | undefined>, nowMs: () => number) {
    this.#read = read;
    this.#nowMs = nowMs;
  }

  /** Undefined while no host runs this kind. */
  async largest(isolation: Isolation): Promise<LargestCapacity | undefined> {
    const known = this.#known.get(isolation);
    return known !== undefined && known.untilMs > this.#nowMs() ? known.largest : this.refresh(isolation);
  }

  /** Reads it now: a refusal must not rest on what was true a moment ago. */
  async refresh(isolation: Isolation): Promise<LargestCapacity | undefined> {
    const largest = await this.#read(isolation);
    this.#known.set(isolation, { largest, untilMs: this.#nowMs() + keptMs });
    return largest;
  }
}
