import { type WorkloadSpec, defaultRestartPolicy } from "@bulkhead/contracts";

/** Values of fields that were left out, as the schemas name them (a test compares the two). */
const defaults = {
  isolation: "container",
  replicas: 1,
  stopGraceMs: 10_000,
  onLoss: "keep",
  leaseMs: 300_000,
  cpuPolicy: "shared",
  pidsMax: 1024,
  backoffMs: 1_000,
  mountReadOnly: true,
  readOnlyRoot: false,
  temporaryMode: "1777",
  executable: false,
  memoryPolicy: "normal",
  hugepages: false,
  network: "none",
  protocol: "tcp",
} as const;

/** The specification with every default filled in, in one order of fields, so that equal ones are equal as JSON. */
export const withDefaults = (spec: WorkloadSpec): WorkloadSpec => {
  const isolation = spec.isolation ?? defaults.isolation;
  const { resources } = spec;
  return {
    isolation,
    image: spec.image,
    ...(spec.command === undefined ? {} : { command: spec.command }),
    ...(spec.args === undefined ? {} : { args: spec.args }),
    env: spec.env ?? {},
    ...(spec.workingDir === undefined ? {} : { workingDir: spec.workingDir }),
    ...(spec.user === undefined ? {} : { user: spec.user }),
    resources: {
      cpuMillis: resources.cpuMillis,
      ...(resources.cpuLimitMillis === undefined ? {} : { cpuLimitMillis: resources.cpuLimitMillis }),
      cpuPolicy: resources.cpuPolicy ?? defaults.cpuPolicy,
      memoryBytes: resources.memoryBytes,
      ...(resources.memoryReservationBytes === undefined
        ? {}
        : { memoryReservationBytes: resources.memoryReservationBytes }),
      pidsMax: resources.pidsMax ?? defaults.pidsMax,
      ...(resources.diskBytes === undefined ? {} : { diskBytes: resources.diskBytes }),
      // What a patch took the last limit from says nothing any more.
      ...(resources.io === undefined || Object.keys(resources.io).length === 0 ? {} : { io: resources.io }),
    },
    restart: { backoffMs: defaults.backoffMs, ...(spec.restart ?? defaultRestartPolicy) },
    replicas: spec.replicas ?? defaults.replicas,
    constraints: { hostLabels: spec.constraints?.hostLabels ?? {} },
    network: spec.network ?? defaults.network,
    ports: (spec.ports ?? []).map((port) => ({ ...port, protocol: port.protocol ?? defaults.protocol })),
    ...(spec.bandwidth === undefined ? {} : { bandwidth: spec.bandwidth }),
    mounts: (spec.mounts ?? []).map((mount) => ({
      hostPath: mount.hostPath,
      path: mount.path,
      readOnly: mount.readOnly ?? defaults.mountReadOnly,
    })),
    tmpfs: (spec.tmpfs ?? []).map(({ path, sizeBytes, mode, executable }) => ({
      path,
      sizeBytes,
      mode: (mode ?? defaults.temporaryMode).padStart(4, "0"),
      executable: executable ?? defaults.executable,
    })),
    // What is at no path is not read-only either.
    shares: (spec.shares ?? []).map((use) =>
      use.path === undefined ? use : { ...use, readOnly: use.readOnly ?? defaults.mountReadOnly },
    ),
    stopGraceMs: spec.stopGraceMs ?? defaults.stopGraceMs,
    onLoss: spec.onLoss ?? defaults.onLoss,
    leaseMs: spec.leaseMs ?? defaults.leaseMs,
    ...(isolation === "container"
      ? { container: { readOnlyRoot: defaults.readOnlyRoot, ...spec.container } }
      : spec.container === undefined
        ? {}
        : { container: spec.container }),
    ...(isolation === "vm"
      ? { vm: { memoryPolicy: defaults.memoryPolicy, hugepages: defaults.hugepages, ...spec.vm } }
      : spec.vm === undefined
        ? {}
        : { vm: spec.vm }),
    labels: spec.labels ?? {},
  };
};
