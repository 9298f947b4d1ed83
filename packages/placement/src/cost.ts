import { machineMemoryBytes, type HostEngine } from "@bulkhead/contracts";
import type { Demand } from "./demand.ts";
import type { FleetAgent } from "./fleet.ts";

/** What an instance takes of a host. */
export interface Cost {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

/** The engine that this agent would run a demand with; undefined for containers, and when the agent tells of none. */
export const engineFor = ({ engines }: Pick<FleetAgent, "engines">, demand: Demand): HostEngine | undefined => {
  if (demand.isolation !== "vm") return undefined;
  return demand.engine === undefined ? engines?.[0] : engines?.find(({ name }) => name === demand.engine);
};

/** A demand with what its engine's monitor uses itself: what the agent sets as the monitor's limits. */
export const costOf = (demand: Demand, engine: HostEngine | undefined): Cost =>
  engine === undefined
    ? demand
    : {
        cpuMillis: demand.cpuMillis + engine.emulatorMillis,
        memoryBytes: machineMemoryBytes(demand.memoryBytes, engine),
      };
