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
  /** was heard while its silence was being written: the row may say either */
  inDoubt: boolean;
  /** what runs there is in the database: its document is of this era, and what that did not explain was looked up */
  accounted: boolean;
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
  readonly #agents = new Map<string, Watched>();
  #accountsSinceMs: number;
  #accountsClosed = false;

  constructor(
    times: Pick<ControlTimes, "suspectAfterMs" | "unknownAfterMs">,
    startedAtMs: number,
    known: readonly KnownAgent[],
  ) {
    this.#times = times;
    this.#accountsSinceMs = startedAtMs;
    for (const { hostId, isolation, state, foreignClusterId } of known) {
      const agent = { hostId, isolation, state, foreignClusterId };
      this.#agents.set(keyOf(agent), { ...agent, heardAtMs: startedAtMs, inDoubt: false, accounted: false });
    }
  }

  /**
   * True when an instance that waits in the database runs nowhere: every agent that is well has accounted for what runs
   * there since this leader, or this era, began. Agents that stay silent are not waited for longer than `graceMs`.
   */
  accountsClosed(nowMs: number, graceMs: number): boolean {
    this.#accountsClosed ||=
      nowMs - this.#accountsSinceMs >= graceMs ||
      [...this.#agents.values()].every((agent) => agent.accounted || agent.state !== "ready");
    return this.#accountsClosed;
  }

  /** What runs on this agent is in the database now. True when that is new. */
  account(agent: AgentKey): boolean {
    const known = this.#agents.get(keyOf(agent));
    if (known === undefined || known.accounted) return false;
    known.accounted = true;
    return true;
  }

  /** A new era: the database is older than what runs, so every agent has to account again. */
  reopenAccounts(nowMs: number): void {
    for (const agent of this.#agents.values()) agent.accounted = false;
    this.#accountsSinceMs = nowMs;
    this.#accountsClosed = false;
  }

  /** A heartbeat came: the agent is well. True when that is, or may be, news to the database. */
  heard(agent: AgentKey, nowMs: number, foreignClusterId: string | null): boolean {
    const key = keyOf(agent);
    const known = this.#agents.get(key);
    const same = known?.state === "ready" && !known.inDoubt && known.foreignClusterId === foreignClusterId;
    this.#agents.set(key, {
      hostId: agent.hostId,
      isolation: agent.isolation,
      state: "ready",
      foreignClusterId,
      heardAtMs: nowMs,
      inDoubt: false,
      accounted: known?.accounted ?? false,
    });
    return !same;
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
      if (agent === undefined) continue;
      // Heard while it was being written: the next heartbeat is written in any case, and puts it right.
      if (nowMs - agent.heardAtMs >= change.silentMs) agent.state = change.state;
      else agent.inDoubt = true;
    }
  }

  /** Agents given up. */
  lost(): AgentKey[] {
    return [...this.#agents.values()]
      .filter((agent) => agent.state === "unknown")
      .map(({ hostId, isolation }) => ({ hostId, isolation }));
  }

  /**
   * For how long an agent was certainly given no lease, in milliseconds; 0 when it is not given up. A lease counts from
   * when its heartbeat was sent, so what this leader granted is over a lease after it was heard, however late the answer
   * left; what a predecessor granted is over a lease after the takeover.
   */
  quietMs(agent: AgentKey, nowMs: number): number {
    const known = this.#agents.get(keyOf(agent));
    return known?.state === "unknown" ? nowMs - known.heardAtMs : 0;
  }

  #stateAfter(silentMs: number, state: HostState): HostState {
    if (silentMs >= this.#times.unknownAfterMs) return "unknown";
    // Silence alone makes nobody better than the database says.
    if (silentMs >= this.#times.suspectAfterMs && state === "ready") return "suspect";
    return state;
  }
}
