import { networkKey, NotLeading, type PendingInstance } from "@bulkhead/inventory";
import { hasOwnNetwork } from "@bulkhead/contracts";
import { demandOf, plan, type Plan } from "@bulkhead/placement";
import type { Era } from "./era.ts";
import { FleetCache } from "./fleet-cache.ts";
import type { ControlPorts, Term } from "./ports.ts";
import type { Relay } from "./relay.ts";
import { inTraces } from "./traces.ts";

/** Instances placed in one commit at most; a commit of this size takes about 30 ms. */
const batchSize = 1_000;
/** Stale plans in a row after which the pass rests until the next pulse: someone changes hosts faster than we plan. */
const staleMax = 20;

/** Finds hosts for pending instances: read, plan, commit, again while a plan was stale or more are waiting. */
export class Placer {
  readonly #ports: ControlPorts;
  readonly #term: Term;
  readonly #relay: Relay;
  readonly #era: Era;
  readonly #fleet: FleetCache;
  /** fit nowhere on the fleet as it is; asked again when anything about it changes */
  readonly #blocked = new Set<string>();

  constructor(parts: { ports: ControlPorts; term: Term; relay: Relay; era: Era }) {
    this.#ports = parts.ports;
    this.#term = parts.term;
    this.#relay = parts.relay;
    this.#era = parts.era;
    this.#fleet = new FleetCache(parts.ports.store);
  }

  /** One pass over everything that waits. Resolves to true when anything was written. */
  async pass(): Promise<boolean> {
    let wrote = false;
    for (let stale = 0; stale < staleMax;) {
      const [{ instances: pending, more }, changed] = await Promise.all([
        this.#ports.store.readPending(batchSize, [...this.#blocked]),
        this.#fleet.refresh(),
      ]);
      // Room was made or lost: whoever fitted nowhere is asked again.
      const again = changed && this.#blocked.size > 0;
      if (changed) this.#blocked.clear();
      if (pending.length === 0 && !again) return wrote;
      if (pending.length === 0) continue;
      const done = await this.#place(pending);
      wrote ||= done.wrote;
      stale = done.stale ? stale + 1 : 0;
      if (!done.stale && !more && !again) return wrote;
    }
    return wrote;
  }

  async #place(pending: readonly PendingInstance[]): Promise<{ wrote: boolean; stale: boolean }> {
    const { nowMs, meters } = this.#ports;
    const startedAtMs = nowMs();
    const byId = new Map(pending.map((instance) => [instance.id, instance]));
    const requests = pending.map(({ id, project, spec, shares, copyBytes }) => ({
      instanceId: id,
      demand: demandOf(spec, shares, copyBytes),
      ...(hasOwnNetwork(spec) ? { network: networkKey({ project, name: spec.network ?? "" }) } : {}),
    }));
    const networks = await this.#ports.store.readNetworks(
      pending
        .filter(({ spec }) => hasOwnNetwork(spec))
        .map(({ project, spec }) => ({ project, name: spec.network ?? "" })),
    );
    const made = await inTraces(
      "scheduler.plan",
      { parents: pending.map(({ traceparent }) => traceparent), attributes: { "bulkhead.instances": pending.length } },
      () => plan(this.#fleet.snapshot, requests, { networks }),
    );
    if (!this.#term.valid()) throw new NotLeading(this.#term.term);
    const placed = made.placements.length === 0 ? 0 : await this.#commit(made, byId);
    const stale = made.placements.length - placed;
    const told = await this.#refuse(made, byId);
    const outcome = stale > 0 ? "stale" : placed > 0 ? "placed" : "unplaceable";
    meters?.placementDuration((nowMs() - startedAtMs) / 1000, outcome);
    meters?.placements(placed, "placed");
    meters?.placements(stale, "stale");
    meters?.placements(told, "unplaceable");
    return { wrote: placed + told > 0, stale: stale > 0 };
  }

  async #commit(made: Plan, pending: ReadonlyMap<string, PendingInstance>): Promise<number> {
    const { store } = this.#ports;
    const committed = await inTraces(
      "scheduler.commit",
      {
        parents: made.placements.map(({ instanceId }) => pending.get(instanceId)?.traceparent),
        attributes: { "bulkhead.placements": made.placements.length },
      },
      () => store.commitPlan({ term: this.#term.term, era: this.#era.value, plan: made, pending }),
    );
    // At once, not by way of the outbox: its rows are for when this process ends right here.
    this.#relay.announce(committed.documents);
    this.#fleet.apply(committed, made.placements);
    return committed.placed.size;
  }

  /** Says why on those that fit nowhere; nothing is written when it was said before. */
  async #refuse(made: Plan, pending: ReadonlyMap<string, PendingInstance>): Promise<number> {
    for (const { instanceId } of made.unplaced) this.#blocked.add(instanceId);
    const news = made.unplaced.filter(
      ({ instanceId, rejections }) =>
        rejections.length === 0 || JSON.stringify(pending.get(instanceId)?.rejections) !== JSON.stringify(rejections),
    );
    return news.length === 0 ? 0 : this.#ports.store.recordRejections(this.#term.term, news);
  }
}
