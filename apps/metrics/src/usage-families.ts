import { metrics, type MetricKey } from "@bulkhead/contracts";
import type { Labels, MetricFamily, NumberPoint } from "@bulkhead/telemetry";
import type { InstanceUsage } from "./instance-usage.ts";
import type { UsageStore } from "./usage-store.ts";

type Read = (instance: InstanceUsage) => number | null;

/** Catalogue units: seconds, bytes and counts. */
const seconds = (nanoseconds: number): number => nanoseconds / 1e9;

const instanceMetrics: readonly [MetricKey, Read, Labels?][] = [
  ["instanceCpuTime", (one) => seconds(one.total("cpuUsageNs"))],
  ["instanceCpuThrottled", (one) => seconds(one.total("throttledNs"))],
  ["instanceCpuThrottledPeriods", (one) => one.total("throttledPeriods")],
  ["instanceMemoryUsage", (one) => one.sample.memoryBytes],
  ["instanceMemoryPeak", (one) => one.sample.memoryPeakBytes],
  ["instanceMemoryLimit", (one) => one.sample.memoryLimitBytes],
  ["instancePids", (one) => one.sample.pids],
  ["instanceOomKills", (one) => one.total("oomKills")],
  ["instanceIoBytes", (one) => one.total("ioReadBytes"), { "disk.io.direction": "read" }],
  ["instanceIoBytes", (one) => one.total("ioWriteBytes"), { "disk.io.direction": "write" }],
  ["instanceIoOperations", (one) => one.total("ioReadOps"), { "disk.io.direction": "read" }],
  ["instanceIoOperations", (one) => one.total("ioWriteOps"), { "disk.io.direction": "write" }],
  ["instanceDiskUsage", (one) => one.sample.diskUsedBytes ?? null],
  ["instanceDiskLimit", (one) => one.sample.diskLimitBytes ?? null],
  ["instanceContractHeld", (one) => (one.sample.contractHeld ? 1 : 0)],
];

/**
 * Instances with their labels, each label set once: a name is used again after its instance was removed, and the one
 * that was seen last is the one that has it.
 */
const labelled = (store: UsageStore): [InstanceUsage, Labels][] => {
  const byLabels = new Map<string, [InstanceUsage, Labels]>();
  for (const { instance, hostName } of store.current()) {
    const { project, workload, name } = instance.sample;
    const labels = { project, workload, instance: name, host: hostName, isolation: instance.isolation };
    const key = JSON.stringify(Object.values(labels));
    const other = byLabels.get(key);
    if (other === undefined || other[0].seenAtMs <= instance.seenAtMs) byLabels.set(key, [instance, labels]);
  }
  return [...byLabels.values()];
};

const family = (key: MetricKey, points: NumberPoint[]): MetricFamily => ({
  shape: "numbers",
  metric: metrics[key],
  points,
});

/** What the store holds now, in the catalogue's names and units. */
export const usageFamilies = (store: UsageStore, nowMs: number): MetricFamily[] => {
  const instances = labelled(store);
  const hosts = store.hosts();
  const ofHosts = (read: (usage: NonNullable<(typeof hosts)[number]["usage"]>) => number): NumberPoint[] =>
    hosts.flatMap(({ name, usage }) => (usage === undefined ? [] : [{ labels: { host: name }, value: read(usage) }]));
  return [
    ...instanceMetrics.map(([key, read, more]) =>
      family(
        key,
        instances.flatMap(([instance, labels]) => {
          const value = read(instance);
          return value === null ? [] : [{ labels: { ...labels, ...more }, value }];
        }),
      ),
    ),
    ...(["instancePressure", "instancePressureTime"] as const).map((key) =>
      family(
        key,
        instances.flatMap(([instance, labels]) =>
          instance.pressure().map(({ resource, stalled, totalUs, avg10Percent }) => ({
            labels: { ...labels, resource, stalled },
            value: key === "instancePressure" ? avg10Percent : totalUs / 1e6,
          })),
        ),
      ),
    ),
    family(
      "hostCpuBusy",
      ofHosts(({ cpuBusyNs }) => seconds(cpuBusyNs)),
    ),
    family(
      "hostCpuSteal",
      ofHosts(({ cpuStealNs }) => seconds(cpuStealNs)),
    ),
    family(
      "hostMemoryUsed",
      ofHosts(({ memoryUsedBytes }) => memoryUsedBytes),
    ),
    family(
      "hostMemoryTotal",
      ofHosts(({ memoryTotalBytes }) => memoryTotalBytes),
    ),
    family(
      "hostInstances",
      hosts.flatMap((host) =>
        host
          .instances(nowMs, store.freshMs)
          .map(([isolation, value]) => ({ labels: { host: host.name, isolation }, value })),
      ),
    ),
  ].filter(({ points }) => points.length > 0);
};
