import type { HostId, InstanceId, UsageBatch, UsageSample } from "@bulkhead/contracts";

export const hostId = (n: number): HostId => `01936f6e-0000-7000-8000-${String(n).padStart(12, "0")}` as HostId;
export const instanceId = (n: number): InstanceId =>
  `01936f6e-0000-7000-9000-${String(n).padStart(12, "0")}` as InstanceId;

/** A sample of instance `n`, idle unless said otherwise. */
export const sample = (n: number, values: Partial<UsageSample> = {}): UsageSample => ({
  instanceId: instanceId(n),
  project: "default",
  workload: "web",
  name: `web-${n}`,
  cpuUsageNs: 0,
  throttledNs: 0,
  throttledPeriods: 0,
  memoryBytes: 1024,
  memoryPeakBytes: 2048,
  memoryLimitBytes: null,
  pids: 1,
  oomKills: 0,
  ioReadBytes: 0,
  ioWriteBytes: 0,
  ioReadOps: 0,
  ioWriteOps: 0,
  contractHeld: true,
  ...values,
});

/** A message of host 1's container agent unless said otherwise. */
export const batch = (instances: UsageSample[], values: Partial<UsageBatch> = {}): UsageBatch => ({
  hostId: hostId(1),
  hostName: "one",
  isolation: "container",
  at: "2026-11-23T10:00:00.000Z",
  host: {
    cpuBusyNs: 0,
    cpuStealNs: 0,
    memoryUsedBytes: 1,
    memoryTotalBytes: 2,
    instances: instances.length,
  },
  instances,
  ...values,
});
