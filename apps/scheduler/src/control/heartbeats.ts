import { subjects, type Heartbeat } from "@bulkhead/contracts";
import type { AgentName, AgentNews, DocumentHead } from "@bulkhead/inventory";
import type { Documents } from "./documents.ts";
import type { Era } from "./era.ts";
import type { HostWatch } from "./host-watch.ts";
import { isPassing } from "./passing.ts";
import type { ControlPorts, ControlTimes, Term } from "./ports.ts";

interface Written {
  readonly atMs: number;
  readonly text: string;
}

const keyOf = (agent: AgentName): string => `${agent.hostId} ${agent.isolation}`;

/** Runs an agent cannot explain are looked up again after this time although they are the same, in milliseconds. */
const unknownAgainMs = 30_000;

export interface HeartbeatParts {
  readonly ports: ControlPorts;
  readonly times: ControlTimes;
  readonly term: Term;
  readonly era: Era;
  readonly watch: HostWatch;
  readonly documents: Documents;
  /** something about hosts or instances was written: placement and relay should look */
  readonly onChange: () => void;
}

/** Takes heartbeats, answers each with a lease, and writes to the database only what changed. */
export class Heartbeats {
  readonly #parts: HeartbeatParts;
  readonly #waiting = new Map<string, Heartbeat>();
  readonly #written = new Map<string, Written>();
  readonly #unknown = new Map<string, Written>();
  readonly #strangers = new Set<string>();
  /** agents whose newest heartbeat could not be taken, which was said */
  readonly #troubled = new Set<string>();

  constructor(parts: HeartbeatParts) {
    this.#parts = parts;
  }

  /** Of several from one agent only the last counts. */
  receive(heartbeat: Heartbeat): void {
    this.#waiting.set(keyOf(heartbeat), heartbeat);
  }

  /** Looks at everything that came since the last time. */
  async pass(): Promise<void> {
    if (this.#waiting.size === 0) return;
    const heartbeats = [...this.#waiting.values()];
    this.#waiting.clear();
    let heads = await this.#heads(heartbeats);
    const known = heartbeats.filter((heartbeat) => this.#isKnown(heartbeat, heads));
    const caughtUp = await this.#each(known, (heartbeat) =>
      this.#catchUp(heartbeat, heads.get(keyOf(heartbeat)) as DocumentHead),
    );
    const { matters, refused } = await this.#write(caughtUp);
    const written = caughtUp.filter((heartbeat) => !refused.has(keyOf(heartbeat)));
    // Of an agent that was given up until now the heads may be from before its instances were replaced. The writing has
    // waited for that, or has prevented it (see `replaceLost`): what is read after it counts.
    if (matters) heads = await this.#heads(written);
    const answered = await this.#each(
      written.filter((heartbeat) => heads.has(keyOf(heartbeat))),
      async (heartbeat) => {
        await this.#grant(heartbeat, heads.get(keyOf(heartbeat)) as DocumentHead);
        await this.#explain(heartbeat);
        this.#account(heartbeat);
      },
    );
    for (const heartbeat of answered) this.#troubled.delete(keyOf(heartbeat));
  }

  /**
   * Does something for each, and resolves to those for which it could be done: what one host's heartbeat makes fail must
   * not cost another its lease. Rejects passing failures.
   */
  async #each(
    heartbeats: readonly Heartbeat[],
    work: (heartbeat: Heartbeat) => Promise<void>,
  ): Promise<readonly Heartbeat[]> {
    const done: Heartbeat[] = [];
    for (const heartbeat of heartbeats) {
      try {
        await work(heartbeat);
        done.push(heartbeat);
      } catch (err) {
        this.#notTaken(heartbeat, err);
      }
    }
    return done;
  }

  /** Says that a heartbeat could not be taken, once until one can. Throws passing failures on. */
  #notTaken({ hostId, isolation }: AgentName, err: unknown): void {
    if (isPassing(err)) throw err;
    const key = keyOf({ hostId, isolation });
    if (!this.#troubled.has(key)) this.#parts.ports.log.error({ err, hostId, isolation }, "heartbeat not taken");
    this.#troubled.add(key);
  }

  async #heads(heartbeats: readonly Heartbeat[]): Promise<ReadonlyMap<string, DocumentHead>> {
    const heads = await this.#parts.ports.store.readHeads(heartbeats);
    return new Map(heads.map((head) => [keyOf(head), head]));
  }

  #isKnown(heartbeat: Heartbeat, heads: ReadonlyMap<string, DocumentHead>): boolean {
    const key = keyOf(heartbeat);
    if (heads.has(key)) return true;
    if (!this.#strangers.has(key)) {
      const { hostId, isolation } = heartbeat;
      this.#parts.ports.log.warn({ hostId, isolation }, "heartbeat of an agent that never joined this control plane");
      this.#strangers.add(key);
    }
    return false;
  }

  #foreign({ position }: Heartbeat): string | null {
    return position === null || position.clusterId === this.#parts.term.clusterId ? null : position.clusterId;
  }

  /** An agent ahead of the database means that this one was restored; one of an earlier era needs higher versions. */
  async #catchUp(heartbeat: Heartbeat, head: DocumentHead): Promise<void> {
    const { era } = this.#parts;
    const { position, highestEra } = heartbeat;
    if (this.#foreign(heartbeat) !== null) return;
    const reached = { era: Math.max(position?.era ?? 0, highestEra), version: position?.version ?? 0 };
    const ahead = position !== null && position.era === head.era && position.version > head.version;
    if (reached.era > head.era || ahead) await era.restored(head, reached);
    else if (position !== null && position.era < head.era && position.version >= head.version) {
      await era.lift(head, position.version);
      this.#parts.onChange();
    }
  }

  /** Notes who was heard, and writes it: whether it was news of some, and the agents whose news are refused. */
  async #write(
    heartbeats: readonly Heartbeat[],
  ): Promise<{ readonly matters: boolean; readonly refused: ReadonlySet<string> }> {
    const { ports, times, watch, onChange } = this.#parts;
    const nowMs = ports.nowMs();
    let matters = false;
    const news = heartbeats.flatMap((heartbeat): AgentNews[] => {
      const { hostId, isolation, bootId, facts, unknown, position } = heartbeat;
      const key = keyOf(heartbeat);
      const foreignClusterId = this.#foreign(heartbeat);
      const text = JSON.stringify([bootId, facts, unknown]);
      const written = this.#written.get(key);
      const changed = watch.heard(heartbeat, nowMs, foreignClusterId) || written?.text !== text;
      matters ||= changed;
      if (!changed && written !== undefined && nowMs - written.atMs < times.lastSeenMs) return [];
      this.#written.set(key, { atMs: nowMs, text });
      const reachedVersion = foreignClusterId === null ? (position?.version ?? null) : null;
      const told = changed ? { bootId, facts, unknown } : null;
      return [{ hostId, isolation, state: "ready", heardMsAgo: 0, heartbeat: told, reachedVersion, foreignClusterId }];
    });
    const failed = await this.#record(news).catch((error: unknown) => {
      for (const agent of news) this.#written.delete(keyOf(agent));
      throw error;
    });
    const refused = new Set(failed.map(keyOf));
    for (const key of refused) this.#written.delete(key);
    if (matters) onChange();
    return { matters, refused };
  }

  /** One statement for all; by halves when it fails, to cost only those for which it does. They are the answer. */
  async #record(news: readonly AgentNews[]): Promise<readonly AgentNews[]> {
    const { ports, term } = this.#parts;
    const [agent] = news;
    if (agent === undefined) return [];
    try {
      await ports.store.recordAgents(term.term, news);
      return [];
    } catch (err) {
      if (isPassing(err)) throw err;
      if (news.length === 1) {
        this.#notTaken(agent, err);
        return news;
      }
      const middle = Math.ceil(news.length / 2);
      return [...(await this.#record(news.slice(0, middle))), ...(await this.#record(news.slice(middle)))];
    }
  }

  /** The lease counts from the host's own send time, which the answer repeats. */
  async #grant(heartbeat: Heartbeat, head: DocumentHead): Promise<void> {
    const { ports, term } = this.#parts;
    const { hostId, isolation, sentAtBoottimeNs, position, digest } = heartbeat;
    if (this.#foreign(heartbeat) !== null) return;
    const wanted = await this.#parts.documents.digest(head);
    const refetch = digest !== wanted || position === null || position.era !== this.#parts.era.value;
    const answer = { term: term.term, sentAtBoottimeNs, granted: term.valid(), refetch };
    ports.bus.publish(subjects.lease, { hostId, isolation }, answer);
  }

  /** An agent that holds this era's document, or none, has named every run that the database does not know. */
  #account(heartbeat: Heartbeat): void {
    const { watch, era, onChange } = this.#parts;
    const { position } = heartbeat;
    const current = position === null || position.era === era.value || this.#foreign(heartbeat) !== null;
    if (current && watch.account(heartbeat)) onChange();
  }

  /** Runs that no document explains: adopted where the database still knows them, else kept and shown. */
  async #explain(heartbeat: Heartbeat): Promise<void> {
    const { ports, term, onChange } = this.#parts;
    const key = keyOf(heartbeat);
    if (heartbeat.unknown.length === 0 || this.#foreign(heartbeat) !== null) {
      this.#unknown.delete(key);
      return;
    }
    const text = JSON.stringify(heartbeat.unknown);
    const nowMs = ports.nowMs();
    const known = this.#unknown.get(key);
    if (known?.text === text && nowMs - known.atMs < unknownAgainMs) return;
    const { adopted, ended } = await ports.store.adoptRuns(term.term, heartbeat, heartbeat.unknown);
    this.#unknown.set(key, { text, atMs: nowMs });
    if (adopted + ended === 0) return;
    ports.log.warn({ hostId: heartbeat.hostId, adopted, ended }, "runs that no document explained are assigned again");
    onChange();
  }
}
