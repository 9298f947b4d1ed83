import { fleetError, type DesiredDocument, type DocumentPosition, type FetchDesired } from "@bulkhead/contracts";
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
   * The document, whole or what changed since `have`, or a page of that. An agent that is ahead of the database proves that
   * the database was restored: a new era begins first. Rejects NOT_FOUND for hosts that never joined this control plane,
   * PLAN_STALE when the pages are to be read from the first again, ANSWER_TOO_LARGE for an agent that knows no pages.
   */
  async fetch(agent: AgentName, wanted: FetchDesired): Promise<DesiredDocument> {
    const { have, after } = wanted;
    let fetched = await this.#read(agent, wanted);
    if (fetched.kind === "ahead" && have !== null) {
      await this.#era.restored(agent, { era: have.era, version: have.version });
      fetched = await this.#read(agent, wanted);
    }
    if (fetched.kind === "document") {
      const { document } = fetched;
      if (after !== undefined || document.next === undefined) return document;
      const { log } = this.#ports;
      log.error({ ...agent, position: document.position }, "document is too large for an agent that knows no pages");
      throw fleetError("ANSWER_TOO_LARGE", "The document does not fit into one answer: upgrade this host's agents.");
    }
    if (fetched.kind === "moved") {
      throw fleetError("PLAN_STALE", "Rows left the document while its pages were read; ask for the first page again.");
    }
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
    const fetched = await this.#read(head, { have, after: null });
    return fetched.kind === "document" ? fetched.document.digest : undefined;
  }

  async #read({ hostId, isolation }: AgentName, wanted: FetchDesired): Promise<Fetched> {
    const key = keyOf({ hostId, isolation });
    const fetched = await this.#ports.store.fetchDocument({ hostId, isolation }, wanted, this.#memories.get(key));
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
