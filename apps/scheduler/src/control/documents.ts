import { fleetError, type DesiredDocument, type DocumentPosition } from "@bulkhead/contracts";
import type { AgentName, DocumentHead, DocumentMemory, Fetched } from "@bulkhead/inventory";
import type { Era } from "./era.ts";
import type { ControlPorts } from "./ports.ts";

const keyOf = ({ hostId, isolation }: AgentName): string => `${hostId} ${isolation}`;

/** Answers agents that ask for their desired state, and knows the digest that their heartbeats are compared with. */
export class Documents {
  readonly #ports: ControlPorts;
  readonly #era: Era;
  /** the identities in each document; without them every answer would read the whole document for its digest */
  readonly #memories = new Map<string, DocumentMemory>();

  constructor(ports: ControlPorts, era: Era) {
    this.#ports = ports;
    this.#era = era;
  }

  /**
   * The document, whole or what changed since `have`. An agent that is ahead of the database proves that the database was
   * restored: a new era begins first. Rejects NOT_FOUND for hosts that never joined this control plane.
   */
  async fetch(agent: AgentName, have: DocumentPosition | null): Promise<DesiredDocument> {
    let fetched = await this.#read(agent, have);
    if (fetched.kind === "ahead" && have !== null) {
      await this.#era.restored(agent, { era: have.era, version: have.version });
      fetched = await this.#read(agent, have);
    }
    if (fetched.kind === "document") return fetched.document;
    if (fetched.kind === "unknown-host") {
      throw fleetError("NOT_FOUND", `Host ${agent.hostId} has not joined this control plane with ${agent.isolation}.`);
    }
    throw fleetError("PLAN_STALE", "The control plane is starting a new era; ask again.");
  }

  /** Digest of the document at this head or later; undefined when the agent is gone. */
  async digest(head: DocumentHead): Promise<string | undefined> {
    const known = this.#memories.get(keyOf(head));
    if (known !== undefined && known.era === head.era && known.version >= head.version) return known.digest;
    // What changed since this very version costs no specifications.
    const have = { clusterId: head.clusterId, era: head.era, version: head.version } as DocumentPosition;
    const fetched = await this.#read(head, have);
    return fetched.kind === "document" ? fetched.document.digest : undefined;
  }

  async #read({ hostId, isolation }: AgentName, have: DocumentPosition | null): Promise<Fetched> {
    const key = keyOf({ hostId, isolation });
    const fetched = await this.#ports.store.fetchDocument({ hostId, isolation }, have, this.#memories.get(key));
    if (fetched.kind === "document") this.#keep(key, fetched.memory);
    return fetched;
  }

  /** Answers may overtake each other: the newest one is kept. */
  #keep(key: string, memory: DocumentMemory): void {
    const known = this.#memories.get(key);
    const newer = known === undefined || memory.era > known.era || memory.version >= known.version;
    if (newer) this.#memories.set(key, memory);
  }
}
