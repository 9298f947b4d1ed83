import type { Isolation } from "@bulkhead/contracts";
import { agentOf, type FleetSnapshot } from "./fleet.ts";

/** The most that any one host of the fleet could ever give, each resource from the host that has most of it. */
export interface LargestHost {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  /** whole CPUs that could be dedicated on one host */
  readonly dedicatedCpus: number;
}

/**
 * What admission compares a request with: beyond it no amount of waiting helps. Counts hosts in every state, because
 * they may come back; undefined while no host runs this kind.
 */
export const largestHost = (snapshot: FleetSnapshot, isolation: Isolation): LargestHost | undefined => {
  const capacities = snapshot.hosts.flatMap((host) => agentOf(host, isolation)?.capacity ?? []);
  if (capacities.length === 0) return undefined;
  return {
    cpuMillis: Math.max(...capacities.map((capacity) => capacity.cpuMillis)),
    memoryBytes: Math.max(...capacities.map((capacity) => capacity.memoryBytes)),
    dedicatedCpus: Math.max(...capacities.map((capacity) => capacity.cpuCount - 1)),
  };
};
