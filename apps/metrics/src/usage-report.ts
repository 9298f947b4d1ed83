import type { UsageWindowItem, UsageWindowPoint } from "@bulkhead/contracts";
import type { InstanceUsage } from "./instance-usage.ts";
import type { UsagePoint } from "./usage-window.ts";

const perSecond = (before: number, after: number, seconds: number): number =>
  seconds <= 0 ? 0 : Math.round((after - before) / seconds);

/** Rates between two samples; what was used in between is shown at the later one. */
const between = (before: UsagePoint, after: UsagePoint): UsageWindowPoint => {
  const seconds = (after.atMs - before.atMs) / 1000;
  return {
    at: new Date(after.atMs).toISOString(),
    // Nanoseconds of CPU per second of time, in thousandths of a CPU.
    cpuMillis: perSecond(before.cpuNs / 1e6, after.cpuNs / 1e6, seconds),
    throttledMillis: perSecond(before.throttledNs / 1e6, after.throttledNs / 1e6, seconds),
    memoryBytes: after.memoryBytes,
    pids: after.pids,
    ioReadBytesPerSecond: perSecond(before.ioReadBytes, after.ioReadBytes, seconds),
    ioWriteBytesPerSecond: perSecond(before.ioWriteBytes, after.ioWriteBytes, seconds),
  };
};

/** An instance's last ten minutes for people: one point per pair of neighbouring samples. */
export const usageItem = (instance: InstanceUsage, hostName: string, nowMs: number): UsageWindowItem => {
  const points = instance.window.points(nowMs);
  const { project, workload, name, memoryLimitBytes, contractHeld } = instance.sample;
  return {
    instanceId: instance.instanceId,
    project,
    workload,
    name,
    hostId: instance.hostId,
    hostName,
    isolation: instance.isolation,
    memoryLimitBytes,
    contractHeld,
    lastSeenAt: new Date(instance.seenAtMs).toISOString(),
    points: points.slice(1).flatMap((after, index) => {
      const before = points[index];
      return before === undefined ? [] : [between(before, after)];
    }),
  };
};
