import type { Isolation, UsageBatch } from "@bulkhead/contracts";
import { Accumulator } from "./accumulator.ts";

type HostSample = UsageBatch["host"];

const plausible = (sample: HostSample): boolean =>
  Object.values(sample).every((value) => Number.isSafeInteger(value) && value >= 0);

/** One host. Both its agents measure it; only one is listened to at a time, or their small differences would look like resets. */
export class HostUsage {
  /** what it calls itself */
  claimedName: string;
  /** what it is called in labels */
  name: string;
  readonly #cpuBusyNs = new Accumulator();
  readonly #cpuStealNs = new Accumulator();
  readonly #seenAtMs = new Map<Isolation, number>();
  readonly #instances = new Map<Isolation, number>();
  #source: Isolation;
  #sample: HostSample | undefined;

  constructor(name: string, source: Isolation) {
    this.claimedName = name;
    this.name = name;
    this.#source = source;
  }

  /** When any agent of the host was heard last. */
  get seenAtMs(): number {
    return Math.max(0, ...this.#seenAtMs.values());
  }

  /** The last sample with totals that only grow; undefined before the first plausible one. */
  get usage():
    | { cpuBusyNs: number; cpuStealNs: number; memoryUsedBytes: number; memoryTotalBytes: number }
    | undefined {
    if (this.#sample === undefined) return undefined;
    const { memoryUsedBytes, memoryTotalBytes } = this.#sample;
    return { cpuBusyNs: this.#cpuBusyNs.total, cpuStealNs: this.#cpuStealNs.total, memoryUsedBytes, memoryTotalBytes };
  }

  /** Instances per agent that was heard within `freshMs`. */
  instances(nowMs: number, freshMs: number): [Isolation, number][] {
    return [...this.#instances].filter(([isolation]) => nowMs - (this.#seenAtMs.get(isolation) ?? 0) <= freshMs);
  }

  update(isolation: Isolation, sample: HostSample, times: { nowMs: number; freshMs: number }): void {
    const { nowMs, freshMs } = times;
    if (nowMs - (this.#seenAtMs.get(this.#source) ?? 0) > freshMs) this.#source = isolation;
    this.#seenAtMs.set(isolation, nowMs);
    if (!plausible(sample)) return;
    this.#instances.set(isolation, sample.instances);
    if (isolation !== this.#source) return;
    this.#sample = sample;
    this.#cpuBusyNs.update(sample.cpuBusyNs);
    this.#cpuStealNs.update(sample.cpuStealNs);
  }
}
