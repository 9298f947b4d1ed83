import type { HostId, InstanceId, Isolation, UsageSample } from "@bulkhead/contracts";
import { Accumulator } from "./accumulator.ts";
import { UsageWindow } from "./usage-window.ts";

/** Counters of a sample that start anew with each run. */
const counters = [
  "cpuUsageNs",
  "throttledNs",
  "throttledPeriods",
  "oomKills",
  "ioReadBytes",
  "ioWriteBytes",
  "ioReadOps",
  "ioWriteOps",
] as const satisfies readonly (keyof UsageSample)[];
export type CounterName = (typeof counters)[number];

const gauges = ["memoryBytes", "memoryPeakBytes", "pids"] as const satisfies readonly (keyof UsageSample)[];

/** Agents are root on their hosts but not here: numbers that no kernel gives are not taken over. */
export const isPlausible = (sample: UsageSample): boolean =>
  [...counters, ...gauges].every((name) => Number.isSafeInteger(sample[name]) && sample[name] >= 0) &&
  (sample.memoryLimitBytes === null || sample.memoryLimitBytes >= 0);

/** One instance on one host: its last sample, its growing totals and its last ten minutes. */
export class InstanceUsage {
  readonly hostId: HostId;
  readonly isolation: Isolation;
  readonly instanceId: InstanceId;
  readonly window = new UsageWindow();
  readonly #totals = Object.fromEntries(counters.map((name) => [name, new Accumulator()])) as Record<
    CounterName,
    Accumulator
  >;
  #sample: UsageSample;
  #seenAtMs = 0;

  constructor(hostId: HostId, isolation: Isolation, sample: UsageSample) {
    this.hostId = hostId;
    this.isolation = isolation;
    this.instanceId = sample.instanceId;
    this.#sample = sample;
  }

  /** The last sample as it came. */
  get sample(): UsageSample {
    return this.#sample;
  }

  get seenAtMs(): number {
    return this.#seenAtMs;
  }

  total(name: CounterName): number {
    return this.#totals[name].total;
  }

  update(sample: UsageSample, nowMs: number): void {
    this.#sample = sample;
    this.#seenAtMs = nowMs;
    for (const name of counters) this.#totals[name].update(sample[name]);
    this.window.push({
      atMs: nowMs,
      cpuNs: this.total("cpuUsageNs"),
      throttledNs: this.total("throttledNs"),
      memoryBytes: sample.memoryBytes,
      pids: sample.pids,
      ioReadBytes: this.total("ioReadBytes"),
      ioWriteBytes: this.total("ioWriteBytes"),
    });
  }
}
