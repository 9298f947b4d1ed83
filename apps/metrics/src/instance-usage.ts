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

const optionals = ["diskUsedBytes", "diskLimitBytes"] as const satisfies readonly (keyof UsageSample)[];

/** Where work can wait, and whether some of it did or all. */
const stalls = (["cpu", "memory", "io"] as const).flatMap((resource) =>
  (["some", "full"] as const).map((stalled) => ({ resource, stalled })),
);
type Stall = (typeof stalls)[number];
const keyOf = ({ resource, stalled }: Stall): string => `${resource} ${stalled}`;

/** Agents are root on their hosts but not here: numbers that no kernel gives are not taken over. */
export const isPlausible = (sample: UsageSample): boolean =>
  [...counters, ...gauges].every((name) => Number.isSafeInteger(sample[name]) && sample[name] >= 0) &&
  optionals.every((name) => {
    const value = sample[name];
    return value === undefined || (Number.isSafeInteger(value) && value >= 0);
  }) &&
  stalls.every(({ resource, stalled }) => {
    const { [`${stalled}TotalUs` as const]: total = 0, [`${stalled}Avg10Percent` as const]: average = 0 } =
      sample.pressure?.[resource] ?? {};
    return Number.isSafeInteger(total) && total >= 0 && average >= 0 && average <= 100;
  }) &&
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
  readonly #stalls = new Map(stalls.map((stall) => [keyOf(stall), new Accumulator()]));
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

  /** Growing totals, in microseconds, and the newest averages, in percent; empty where the kernel counts none. */
  pressure(): (Stall & { readonly totalUs: number; readonly avg10Percent: number })[] {
    const { pressure } = this.#sample;
    if (pressure === undefined) return [];
    return stalls.map((stall) => ({
      ...stall,
      totalUs: this.#stalls.get(keyOf(stall))?.total ?? 0,
      avg10Percent: pressure[stall.resource][`${stall.stalled}Avg10Percent`],
    }));
  }

  update(sample: UsageSample, nowMs: number): void {
    this.#sample = sample;
    this.#seenAtMs = nowMs;
    for (const name of counters) this.#totals[name].update(sample[name]);
    for (const { resource, stalled } of sample.pressure === undefined ? [] : stalls) {
      this.#stalls.get(keyOf({ resource, stalled }))?.update(sample.pressure?.[resource][`${stalled}TotalUs`] ?? 0);
    }
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
