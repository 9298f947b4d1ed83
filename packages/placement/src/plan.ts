import type { AssignedPort, HostEngine, Isolation } from "@bulkhead/contracts";
import { AddressPool, type Lodging, type NetworkSnapshot } from "./addresses.ts";
import { costOf, engineFor, type Cost } from "./cost.ts";
import { demandClass, type Demand, type PlacementRequest } from "./demand.ts";
import { elsewhere, fits, insufficient, unsuitable } from "./filter.ts";
import { agentOf, type FleetAgent, type FleetSnapshot } from "./fleet.ts";
import { Ledger } from "./room.ts";
import { score, scarcityOf, type Scarcity } from "./score.ts";

export interface Placement {
  readonly instanceId: string;
  readonly hostId: string;
  /** CPUs chosen for a dedicated instance, ascending; empty with the shared policy */
  readonly cpuIds: readonly number[];
  /** what it holds of the host from now on, its monitor's share included */
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  /** what it will write to the host's disk before it runs */
  readonly diskBytes?: number;
  /** addresses, when it asked for a network */
  readonly lodging?: Lodging;
  readonly ports?: readonly AssignedPort[];
}

export interface Rejection {
  readonly hostId: string;
  readonly hostName: string;
  readonly reason: string;
}

export interface Unplaced {
  readonly instanceId: string;
  /** per host, by host id, at most `rejectionsMax` */
  readonly rejections: readonly Rejection[];
}

export interface Plan {
  readonly placements: readonly Placement[];
  readonly unplaced: readonly Unplaced[];
  /** versions of the hosts that received something; the commit is refused when one has changed */
  readonly readVersions: ReadonlyMap<string, number>;
}

export interface PlanOptions {
  /** reasons kept for each unplaced instance; a fleet has thousands of hosts */
  readonly rejectionsMax?: number;
  /** networks that requests name, by their key */
  readonly networks?: ReadonlyMap<string, NetworkSnapshot>;
}

const defaultRejectionsMax = 100;

interface Candidate {
  readonly ledger: Ledger;
  readonly agent: FleetAgent;
  /** of this agent, for a virtual machine of the candidates' class; one object for all that use the same */
  readonly engine: HostEngine | undefined;
}

/** Lowest score wins; ties go to the lowest host id because candidates are in that order. */
const choose = (
  candidates: readonly Candidate[],
  { demand, scarcity, pins }: { demand: Demand; scarcity: Scarcity; pins: ReadonlyMap<string, string> },
): Candidate | undefined => {
  let best: Candidate | undefined;
  let bestScore = Number.POSITIVE_INFINITY;
  let engine: HostEngine | undefined;
  let cost: Cost = demand;
  for (const candidate of candidates) {
    const { ledger, agent } = candidate;
    const room = ledger.room(agent);
    if (candidate.engine !== engine) {
      engine = candidate.engine;
      cost = costOf(demand, engine);
    }
    if (!fits(room, demand, cost)) continue;
    if (demand.shares.length > 0 && elsewhere(ledger.host.id, demand.shares, pins) !== undefined) continue;
    if (demand.ports !== undefined && typeof ledger.ports(demand) === "string") continue;
    const cpuLeft = (room.cpuMillis - cost.cpuMillis) / agent.capacity.cpuMillis;
    const memoryLeft = (room.memoryBytes - cost.memoryBytes) / agent.capacity.memoryBytes;
    const found = score(cpuLeft, memoryLeft, scarcity);
    if (found < bestScore) [best, bestScore] = [candidate, found];
  }
  return best;
};

const portsReason = (ledger: Ledger, demand: Demand): string | undefined => {
  const ports = ledger.ports(demand);
  return typeof ports === "string" ? ports : undefined;
};

const rejection = ({ host }: Ledger, reason: string): Rejection => ({
  hostId: host.id,
  hostName: host.name,
  reason,
});

/** The pass over one snapshot; candidates of equal demands are found once. */
class Pass {
  readonly #ledgers: readonly Ledger[];
  readonly #candidates = new Map<string, Candidate[]>();
  readonly #scarcities = new Map<Isolation, Scarcity>();
  readonly #snapshot: FleetSnapshot;
  /** where shares lie that this pass gave their first user */
  readonly pins = new Map<string, string>();
  readonly #engines = new Map<string, HostEngine>();
  readonly #pools = new Map<string, AddressPool>();

  constructor(snapshot: FleetSnapshot) {
    this.#snapshot = snapshot;
    this.#ledgers = [...snapshot.hosts].sort((a, b) => (a.id < b.id ? -1 : 1)).map((host) => new Ledger(host));
  }

  candidates(demand: Demand): Candidate[] {
    const key = demandClass(demand);
    let found = this.#candidates.get(key);
    if (found === undefined) {
      found = this.#ledgers.flatMap((ledger) => {
        const agent = agentOf(ledger.host, demand.isolation);
        if (agent === undefined || unsuitable(ledger.host, demand) !== undefined) return [];
        return [{ ledger, agent, engine: this.#shared(engineFor(agent, demand)) }];
      });
      this.#candidates.set(key, found);
    }
    return found;
  }

  /** Hosts of a fleet are mostly alike: what a demand costs is worked out once for all whose engines use the same. */
  #shared(engine: HostEngine | undefined): HostEngine | undefined {
    if (engine === undefined) return undefined;
    const key = `${engine.overheadBytes} ${engine.overheadBytesPerMib} ${engine.emulatorMillis}`;
    const known = this.#engines.get(key);
    if (known === undefined) this.#engines.set(key, engine);
    return known ?? engine;
  }

  scarcity(isolation: Isolation): Scarcity {
    let found = this.#scarcities.get(isolation);
    if (found === undefined) {
      found = scarcityOf(this.#snapshot, isolation);
      this.#scarcities.set(isolation, found);
    }
    return found;
  }

  /** The pool of a network, and why nobody can get an address in it. */
  pool(key: string | undefined, networks: PlanOptions["networks"]): { pool?: AddressPool; reason?: string } {
    if (key === undefined) return {};
    let pool = this.#pools.get(key);
    const network = networks?.get(key);
    if (pool === undefined && network !== undefined) this.#pools.set(key, (pool = new AddressPool(network)));
    if (pool === undefined) return { reason: "its network does not exist" };
    const reason = pool.exhausted();
    return reason === undefined ? { pool } : { reason };
  }

  /** The same reason for every host. */
  everywhere(reason: string, limit: number): Rejection[] {
    return this.#ledgers.slice(0, limit).map((ledger) => rejection(ledger, reason));
  }

  /** Why each of the first `limit` hosts did not take a demand that no host took. */
  rejections(demand: Demand, limit: number): Rejection[] {
    return this.#ledgers.slice(0, limit).flatMap((ledger) => {
      const agent = agentOf(ledger.host, demand.isolation);
      const reason =
        unsuitable(ledger.host, demand) ??
        elsewhere(ledger.host.id, demand.shares, this.pins) ??
        (agent === undefined
          ? undefined
          : insufficient(ledger.room(agent), demand, costOf(demand, engineFor(agent, demand)))) ??
        portsReason(ledger, demand);
      return reason === undefined ? [] : [rejection(ledger, reason)];
    });
  }
}

/**
 * Places requests in their order on a snapshot: filter, score, choose; each takes what it got from the next. Pure: equal
 * input gives an equal plan, whatever the order of the hosts. Never gives away more than a host has.
 */
export const plan = (
  snapshot: FleetSnapshot,
  requests: readonly PlacementRequest[],
  { rejectionsMax = defaultRejectionsMax, networks }: PlanOptions = {},
): Plan => {
  const pass = new Pass(snapshot);
  const placements: Placement[] = [];
  const unplaced: Unplaced[] = [];
  const readVersions = new Map<string, number>();
  for (const { instanceId, demand, network } of requests) {
    const { pool, reason } = pass.pool(network, networks);
    if (reason !== undefined) {
      unplaced.push({ instanceId, rejections: pass.everywhere(reason, rejectionsMax) });
      continue;
    }
    const scarcity = pass.scarcity(demand.isolation);
    const chosen = choose(pass.candidates(demand), { demand, scarcity, pins: pass.pins });
    if (chosen === undefined) {
      unplaced.push({ instanceId, rejections: pass.rejections(demand, rejectionsMax) });
      continue;
    }
    const { host } = chosen.ledger;
    readVersions.set(host.id, host.version);
    for (const { shareId } of demand.shares) pass.pins.set(shareId, host.id);
    const ports = chosen.ledger.ports(demand);
    if (typeof ports === "string") throw new RangeError(`${host.name} was chosen although ${ports}`);
    chosen.ledger.takePorts(ports);
    const { cpuMillis, memoryBytes } = costOf(demand, chosen.engine);
    placements.push({
      instanceId,
      hostId: host.id,
      cpuIds: chosen.ledger.take(chosen.agent, demand, { cpuMillis, memoryBytes }),
      cpuMillis,
      memoryBytes,
      ...(demand.diskBytes === undefined ? {} : { diskBytes: demand.diskBytes }),
      ...(pool === undefined ? {} : { lodging: pool.take() }),
      ...(ports.length === 0 ? {} : { ports }),
    });
  }
  return { placements, unplaced, readVersions };
};
