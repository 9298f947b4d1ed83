interface MetricRow {
  readonly name: string;
  readonly kind: "counter" | "gauge" | "histogram";
  /** UCUM unit, as OpenTelemetry uses it */
  readonly unit: string;
  readonly labels: readonly string[];
  readonly meaning: string;
}

const row = <const Row extends MetricRow>(metric: Row): Row => metric;

const instanceLabels = ["project", "workload", "instance", "host", "isolation"] as const;

/** The one metric catalogue: names, units and label sets; docs/metrics.md is made from it. */
export const metrics = {
  httpRequestDuration: row({
    name: "http.server.request.duration",
    kind: "histogram",
    unit: "s",
    labels: ["http.request.method", "http.route", "http.response.status_code"],
    meaning: "API request, received to answered",
  }),
  placementDuration: row({
    name: "bulkhead.placement.duration",
    kind: "histogram",
    unit: "s",
    labels: ["outcome"],
    meaning: "one placement pass, snapshot read to plan committed",
  }),
  placements: row({
    name: "bulkhead.placements",
    kind: "counter",
    unit: "{placement}",
    labels: ["outcome"],
    meaning: "instances placed or found unplaceable",
  }),
  instanceStartDuration: row({
    name: "bulkhead.instance.start.duration",
    kind: "histogram",
    unit: "s",
    labels: ["isolation", "outcome"],
    meaning: "on the agent, assignment seen to entrypoint executed",
  }),
  instanceExits: row({
    name: "bulkhead.instance.exits",
    kind: "counter",
    unit: "{exit}",
    labels: ["isolation", "reason"],
    meaning: "ended runs by reason",
  }),
  reportsFolded: row({
    name: "bulkhead.reports.folded",
    kind: "counter",
    unit: "{report}",
    labels: [],
    meaning: "agent reports written to Postgres",
  }),
  outboxPending: row({
    name: "bulkhead.outbox.pending",
    kind: "gauge",
    unit: "{row}",
    labels: [],
    meaning: "outbox rows not yet relayed",
  }),
  agentJournalPending: row({
    name: "bulkhead.agent.journal.pending",
    kind: "gauge",
    unit: "{report}",
    labels: ["isolation"],
    meaning: "reports the scheduler has not acknowledged",
  }),
  instanceCpuTime: row({
    name: "container.cpu.time",
    kind: "counter",
    unit: "s",
    labels: instanceLabels,
    meaning: "CPU time used",
  }),
  instanceCpuThrottled: row({
    name: "bulkhead.instance.cpu.throttled.time",
    kind: "counter",
    unit: "s",
    labels: instanceLabels,
    meaning: "time the instance wanted to run but its quota was used up",
  }),
  instanceCpuThrottledPeriods: row({
    name: "bulkhead.instance.cpu.throttled.periods",
    kind: "counter",
    unit: "{period}",
    labels: instanceLabels,
    meaning: "quota periods in which it was throttled",
  }),
  instanceMemoryUsage: row({
    name: "container.memory.usage",
    kind: "gauge",
    unit: "By",
    labels: instanceLabels,
    meaning: "memory charged to the instance",
  }),
  instanceMemoryPeak: row({
    name: "bulkhead.instance.memory.peak",
    kind: "gauge",
    unit: "By",
    labels: instanceLabels,
    meaning: "highest memory charged since start",
  }),
  instanceMemoryLimit: row({
    name: "bulkhead.instance.memory.limit",
    kind: "gauge",
    unit: "By",
    labels: instanceLabels,
    meaning: "memory limit the kernel enforces",
  }),
  instancePids: row({
    name: "bulkhead.instance.pids",
    kind: "gauge",
    unit: "{process}",
    labels: instanceLabels,
    meaning: "processes and threads",
  }),
  instanceOomKills: row({
    name: "bulkhead.instance.oom.kills",
    kind: "counter",
    unit: "{kill}",
    labels: instanceLabels,
    meaning: "processes the kernel killed for memory",
  }),
  instanceIoBytes: row({
    name: "container.disk.io",
    kind: "counter",
    unit: "By",
    labels: [...instanceLabels, "disk.io.direction"],
    meaning: "block I/O",
  }),
  instanceIoOperations: row({
    name: "bulkhead.instance.disk.operations",
    kind: "counter",
    unit: "{operation}",
    labels: [...instanceLabels, "disk.io.direction"],
    meaning: "block I/O operations",
  }),
  instanceDiskUsage: row({
    name: "bulkhead.instance.disk.usage",
    kind: "gauge",
    unit: "By",
    labels: instanceLabels,
    meaning: "room taken of its own writable disk; of a VM what it ever took of the host's",
  }),
  instanceDiskLimit: row({
    name: "bulkhead.instance.disk.limit",
    kind: "gauge",
    unit: "By",
    labels: instanceLabels,
    meaning: "room on its own writable disk",
  }),
  instancePressure: row({
    name: "bulkhead.instance.pressure",
    kind: "gauge",
    unit: "%",
    labels: [...instanceLabels, "resource", "stalled"],
    meaning: "of the last ten seconds, those in which `some` or `full` (all) of its work waited for cpu, memory or io",
  }),
  instancePressureTime: row({
    name: "bulkhead.instance.pressure.time",
    kind: "counter",
    unit: "s",
    labels: [...instanceLabels, "resource", "stalled"],
    meaning: "time in which `some` or `full` (all) of its work waited for cpu, memory or io",
  }),
  instanceContractHeld: row({
    name: "bulkhead.instance.contract.held",
    kind: "gauge",
    unit: "1",
    labels: instanceLabels,
    meaning: "1 while the kernel enforces what was promised",
  }),
  hostCpuBusy: row({
    name: "bulkhead.host.cpu.busy.time",
    kind: "counter",
    unit: "s",
    labels: ["host"],
    meaning: "CPU time not idle",
  }),
  hostCpuSteal: row({
    name: "bulkhead.host.cpu.steal.time",
    kind: "counter",
    unit: "s",
    labels: ["host"],
    meaning: "CPU time taken by the hypervisor below",
  }),
  hostMemoryUsed: row({
    name: "bulkhead.host.memory.used",
    kind: "gauge",
    unit: "By",
    labels: ["host"],
    meaning: "memory in use",
  }),
  hostMemoryTotal: row({
    name: "bulkhead.host.memory.total",
    kind: "gauge",
    unit: "By",
    labels: ["host"],
    meaning: "memory of the host",
  }),
  hostInstances: row({
    name: "bulkhead.host.instances",
    kind: "gauge",
    unit: "{instance}",
    labels: ["host", "isolation"],
    meaning: "instances on the host",
  }),
} as const;

export type MetricKey = keyof typeof metrics;
