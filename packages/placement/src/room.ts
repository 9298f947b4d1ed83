import type { AssignedPort } from "@bulkhead/contracts";
import type { Cost } from "./cost.ts";
import type { Demand } from "./demand.ts";
import type { FleetAgent, FleetHost } from "./fleet.ts";
import { choosePorts, type HeldPort } from "./ports.ts";

/** What is left of a host for one kind of instance; never below zero, also when facts shrank under what is held. */
export interface Room {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly instances: number;
  /** whole CPUs that can be given away for good */
  readonly dedicable: number;
  /** of its disk; without bounds where its agent tells of none */
  readonly diskBytes: number;
}

/** One CPU stays shared: the host's own processes and shared instances need a place to run. */
const sharedCpusMin = 1;

/** A host's account while a plan is being made: what is held, by the snapshot and by the plan so far. */
export class Ledger {
  readonly host: FleetHost;
  #cpuMillis: number;
  #memoryBytes: number;
  #instances: number;
  #diskBytes: number;
  readonly #cpuIds: Set<number>;
  readonly #ports: HeldPort[];

  constructor(host: FleetHost) {
    this.host = host;
    this.#cpuMillis = host.held.cpuMillis;
    this.#memoryBytes = host.held.memoryBytes;
    this.#instances = host.held.instances;
    this.#diskBytes = host.held.diskBytes ?? 0;
    this.#cpuIds = new Set(host.held.cpuIds);
    this.#ports = [...(host.held.ports ?? [])];
  }

  /** What one agent of the host has left. */
  room({ capacity, diskFreeBytes }: FleetAgent): Room {
    return {
      cpuMillis: Math.max(0, capacity.cpuMillis - this.#cpuMillis),
      memoryBytes: Math.max(0, capacity.memoryBytes - this.#memoryBytes),
      instances: Math.max(0, capacity.instancesMax - this.#instances),
      dedicable: Math.max(0, capacity.cpuCount - this.#cpuIds.size - sharedCpusMin),
      diskBytes: Math.max(0, (diskFreeBytes ?? Number.POSITIVE_INFINITY) - this.#diskBytes),
    };
  }

  /** Host ports for a demand, or why there are none. */
  ports({ ports = [] }: Demand): readonly AssignedPort[] | string {
    return choosePorts(ports, this.#ports);
  }

  /** Keeps ports from those that come later. */
  takePorts(ports: readonly AssignedPort[]): void {
    this.#ports.push(...ports);
  }

  /** Takes a demand that fits and answers with the CPUs chosen for it, ascending. */
  take({ capacity }: FleetAgent, demand: Demand, cost: Cost): number[] {
    this.#cpuMillis += cost.cpuMillis;
    this.#memoryBytes += cost.memoryBytes;
    this.#instances += 1;
    this.#diskBytes += demand.diskBytes ?? 0;
    const chosen: number[] = [];
    // From the top: CPU 0 serves most interrupts and is the last to be given away.
    for (let id = capacity.cpuCount - 1; id >= 0 && chosen.length < demand.dedicatedCpus; id -= 1) {
      if (!this.#cpuIds.has(id)) chosen.push(id);
    }
    for (const id of chosen) this.#cpuIds.add(id);
    return chosen.toReversed();
  }
}
