import type { HostState } from "@bulkhead/contracts";
import type { KnownAgent } from "@bulkhead/inventory";
import type { ControlTimes } from "./ports.ts";

export interface AgentKey {
  readonly hostId: string;
  readonly isolation: string;
}

interface Watched extends AgentKey {
  state: HostState;
  foreignClusterId: string | null;
  /** of the monotonic clock; the takeover, before the first heartbeat */
  heardAtMs: number;
  heard: boolean;
  /** when a lease was last granted; null while this leader has granted none */
  grantedAtMs: number | null;
}

/** An agent whose silence has changed what it is. */
export interface StateChange extends AgentKey {
  readonly state: HostState;
  readonly foreignClusterId: string | null;
  readonly silentMs: number;
}

const keyOf = (agent: AgentKey): string => `${agent.hostId} ${agent.isolation}`;

/**
 * Who was heard when, in the leader's memory; pure but for what it remembers. A new leader knows nothing of earlier
 * heartbeats and counts silence, and the leases its predecessor may have granted, from its own beginning.
 */
export class HostWatch {
  readonly #times: Pick<ControlTimes, "suspectAfterMs" | "unknownAfterMs">;
  readonly #startedAtMs: number;
  readonly #agents = new Map<string, Watched>();

  constructor(
    times: Pick<ControlTimes, "suspectAfterMs" | "unknownAfterMs">,
    startedAtMs: number,
    known: readonly KnownAgent[],
  ) {
    this.#times = times;
    this.#startedAtMs = startedAtMs;
    for (const { hostId, isolation, state, foreignClusterId } of known) {
      const agent = { hostId, isolation, state, foreignClusterId };
      this.#agents.set(keyOf(agent), { ...agent, heardAtMs: startedAtMs, heard: false, grantedAtMs: null });
    }
  }

  /** True when every agent that should be well was heard: then nobody runs what we do not know of. */
  get complete(): boolean {
    return [...this.#agents.values()].every((agent) => agent.heard || agent.state !== "ready");
  }

  /** A heartbeat came: the agent is well. True when that is news to the database. */
  heard(agent: AgentKey, nowMs: number, foreignClusterId: string | null): boolean {
    const key = keyOf(agent);
    const known = this.#agents.get(key);
    const news = known === undefined || known.state !== "ready" || known.foreignClusterId !== foreignClusterId;
    this.#agents.set(key, {
      hostId: agent.hostId,
      isolation: agent.isolation,
      state: "ready",
      foreignClusterId,
      heardAtMs: nowMs,
      heard: true,
      grantedAtMs: known?.grantedAtMs ?? null,
    });
    return news;
  }

  granted(agent: AgentKey, nowMs: number): void {
    const known = this.#agents.get(keyOf(agent));
    if (known !== undefined) known.grantedAtMs = nowMs;
  }

  /** Agents whose silence makes them something else by now. `settle` enters it once it is written. */
  changes(nowMs: number): StateChange[] {
    return [...this.#agents.values()].flatMap((agent) => {
      const silentMs = nowMs - agent.heardAtMs;
      const state = this.#stateAfter(silentMs, agent.state);
      return state === agent.state ? [] : [{ ...agent, state, silentMs }];
    });
  }

  settle(changes: readonly StateChange[], nowMs: number): void {
    for (const change of changes) {
      const agent = this.#agents.get(keyOf(change));
      // Heard while it was being written: the next heartbeat's writing puts it right.
      if (agent !== undefined && nowMs - agent.heardAtMs >= change.silentMs) agent.state = change.state;
    }
  }

  /** Agents given up, with the time for which no lease of theirs can have been renewed, in milliseconds. */
  lost(nowMs: number): (AgentKey & { readonly quietMs: number })[] {
    return [...this.#agents.values()]
      .filter((agent) => agent.state === "unknown")
      .map(({ hostId, isolation, grantedAtMs }) => ({
        hostId,
        isolation,
        quietMs: nowMs - Math.max(grantedAtMs ?? this.#startedAtMs, this.#startedAtMs),
      }));
  }

  #stateAfter(silentMs: number, state: HostState): HostState {
    if (silentMs >= this.#times.unknownAfterMs) return "unknown";
    // Silence alone makes nobody better than the database says.
    if (silentMs >= this.#times.suspectAfterMs && state === "ready") return "suspect";
    return state;
  }
}
