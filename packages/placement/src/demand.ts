import {
  guestMemoryBytes,
  namespaceShareField,
  usedFields,
  type Isolation,
  type MachineEngine,
  type PublishedPort,
  type ShareKind,
  type WorkloadSpec,
} from "@bulkhead/contracts";

/** What an instance needs of a host, and nothing else of its spec. */
export interface Demand {
  readonly isolation: Isolation;
  readonly cpuMillis: number;
  /** of a virtual machine what its guest has; its monitor's own comes on top, on each host what its engine uses */
  readonly memoryBytes: number;
  /** that a virtual machine is to be run by; absent: the best of its host */
  readonly engine?: MachineEngine;
  /** whole CPUs for itself; 0 with the shared policy */
  readonly dedicatedCpus: number;
  readonly hostLabels: Readonly<Record<string, string>>;
  readonly fields: readonly string[];
  /** host directories it wants to see */
  readonly mountPaths: readonly string[];
  /** the host's own network instead of one of its own */
  readonly hostNetwork?: boolean;
  /** ports of the host that are to lead to it */
  readonly ports?: readonly PublishedPort[];
  /** what it writes to its host's disk before it runs */
  readonly diskBytes?: number;
  /** where what it begins from lies */
  readonly snapshotHostId?: string;
  /** shares it wants to see; all must lie on its host */
  readonly shares: readonly ShareDemand[];
}

/** A share that an instance is to see; its data lies on one host. */
export interface ShareDemand {
  readonly shareId: string;
  readonly name: string;
  /** null: wherever its first user goes */
  readonly hostId: string | null;
  /** a namespace is nothing that every host can share */
  readonly kind: ShareKind;
}

export interface PlacementRequest {
  readonly instanceId: string;
  readonly demand: Demand;
  /** key of its network among those given to the plan; absent: loopback, or the host's */
  readonly network?: string;
}

/**
 * Demand of a spec. Dedicated CPUs are whole: the limit, or without one the share, rounded up. `diskBytes` is what the disk
 * of a snapshot's copy takes at its start.
 */
export const demandOf = (spec: WorkloadSpec, shares: readonly ShareDemand[] = [], diskBytes = 0): Demand => {
  const { resources } = spec;
  const dedicatedCpus =
    resources.cpuPolicy === "dedicated" ? Math.ceil((resources.cpuLimitMillis ?? resources.cpuMillis) / 1000) : 0;
  const isolation = spec.isolation ?? "container";
  return {
    isolation,
    cpuMillis: Math.max(resources.cpuMillis, dedicatedCpus * 1000),
    memoryBytes: isolation === "vm" ? guestMemoryBytes(resources.memoryBytes) : resources.memoryBytes,
    ...(spec.vm?.engine === undefined ? {} : { engine: spec.vm.engine }),
    dedicatedCpus,
    hostLabels: spec.constraints?.hostLabels ?? {},
    fields: [...usedFields(spec), ...(shares.some(({ kind }) => kind === "namespace") ? [namespaceShareField] : [])],
    mountPaths: (spec.mounts ?? []).map((mount) => mount.hostPath),
    shares: shares.map(({ shareId, name, hostId, kind }) => ({ shareId, name, hostId, kind })),
    ...(spec.vm?.restoredFrom === undefined ? {} : { snapshotHostId: spec.vm.restoredFrom.hostId }),
    ...(diskBytes === 0 ? {} : { diskBytes }),
    ...(spec.network === "host" ? { hostNetwork: true } : {}),
    ...(spec.ports === undefined || spec.ports.length === 0 ? {} : { ports: spec.ports }),
  };
};

/** Equal for demands that every host treats alike; such demands share the filters' work. */
export const demandClass = (demand: Demand): string =>
  JSON.stringify([
    demand.isolation,
    demand.dedicatedCpus,
    Object.entries(demand.hostLabels).sort(([a], [b]) => (a < b ? -1 : 1)),
    demand.fields,
    demand.mountPaths,
    demand.shares,
    demand.hostNetwork ?? false,
    demand.snapshotHostId ?? null,
  ]);
