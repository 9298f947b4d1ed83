import type { Capacity, HostEngine, HostState, Isolation } from "@bulkhead/contracts";
import type { HeldPort } from "./ports.ts";

/** One of a host's agents as placement sees it. */
export interface FleetAgent {
  readonly isolation: Isolation;
  readonly state: HostState;
  readonly capacity: Capacity;
  /** spec fields it can enforce; a path covers the paths below it */
  readonly enforceable: readonly string[];
  readonly mountAllowList: readonly string[];
  /** its configuration lets instances have the host's own network */
  readonly hostNetwork?: boolean;
  /** engines of its virtual machines, the best first; null or absent: it tells of none */
  readonly engines?: readonly HostEngine[] | null;
  /** what its host's disk has left for instances' files, in bytes; null or absent: it tells of none */
  readonly diskFreeBytes?: number | null;
  /** it obeys another control plane, so nothing of ours may go there */
  readonly foreign: boolean;
}

/** What assignments hold of a host until they are gone, both kinds together. */
export interface Held {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly instances: number;
  /** CPUs that dedicated instances have for themselves */
  readonly cpuIds: readonly number[];
  /** of its disk: promised, and not written yet */
  readonly diskBytes?: number;
  /** ports that lead to instances */
  readonly ports?: readonly HeldPort[];
}

export interface FleetHost {
  readonly id: string;
  readonly name: string;
  /** rises with every change placement reads; the commit refuses plans made on an older one */
  readonly version: number;
  readonly cordoned: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly agents: readonly FleetAgent[];
  readonly held: Held;
}

/** Immutable input of a plan; the order of hosts does not matter. */
export interface FleetSnapshot {
  readonly hosts: readonly FleetHost[];
}

/** The host's agent for one isolation, if it runs one. */
export const agentOf = (host: FleetHost, isolation: Isolation): FleetAgent | undefined =>
  host.agents.find((agent) => agent.isolation === isolation);
