import type { ControlStore, Committed } from "@bulkhead/inventory";
import type { FleetHost, FleetSnapshot, Placement } from "@bulkhead/placement";

/**
 * The fleet in memory. Only hosts whose version changed are read again; our own commits are entered without reading.
 * It may be old: a commit on an old host version is refused, and then the host is read again.
 */
export class FleetCache {
  readonly #store: ControlStore;
  readonly #hosts = new Map<string, FleetHost>();

  constructor(store: ControlStore) {
    this.#store = store;
  }

  get snapshot(): FleetSnapshot {
    return { hosts: [...this.#hosts.values()] };
  }

  /** Reads what changed; true when anything did. */
  async refresh(): Promise<boolean> {
    const versions = await this.#store.readHostVersions();
    const present = new Set(versions.map((host) => host.id));
    const stale = versions.filter((host) => this.#hosts.get(host.id)?.version !== host.version).map((host) => host.id);
    const gone = [...this.#hosts.keys()].filter((id) => !present.has(id));
    for (const id of gone) this.#hosts.delete(id);
    if (stale.length > 0) {
      for (const host of await this.#store.readHosts(stale)) this.#hosts.set(host.id, host);
    }
    return stale.length > 0 || gone.length > 0;
  }

  /** Enters what a commit wrote. */
  apply(committed: Committed, placements: readonly Placement[]): void {
    for (const { id, version } of committed.hosts) {
      const host = this.#hosts.get(id);
      if (host === undefined) continue;
      const here = placements.filter((made) => made.hostId === id && committed.placed.has(made.instanceId));
      this.#hosts.set(id, {
        ...host,
        version,
        held: {
          cpuMillis: here.reduce((sum, made) => sum + made.cpuMillis, host.held.cpuMillis),
          memoryBytes: here.reduce((sum, made) => sum + made.memoryBytes, host.held.memoryBytes),
          instances: host.held.instances + here.length,
          diskBytes: here.reduce((sum, made) => sum + (made.diskBytes ?? 0), host.held.diskBytes ?? 0),
          cpuIds: [...host.held.cpuIds, ...here.flatMap((made) => made.cpuIds)],
          ports: [...(host.held.ports ?? []), ...here.flatMap((made) => made.ports ?? [])],
        },
      });
    }
  }
}
