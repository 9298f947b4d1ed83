import { subjects, type DocumentPosition } from "@bulkhead/contracts";
import type { DocumentVersion } from "@bulkhead/inventory";
import type { Era } from "./era.ts";
import type { ControlPorts, Term } from "./ports.ts";

/** Outbox rows taken at a time. */
const batchSize = 1_000;

/**
 * Tells agents that their documents changed. The message is only a hint: an agent that misses it finds out by the answer
 * to its next heartbeat. Rows of the outbox are removed after the message was handed to the bus.
 */
export class Relay {
  readonly #ports: ControlPorts;
  readonly #term: Term;
  readonly #era: Era;
  #announced: DocumentVersion[] = [];

  constructor(ports: ControlPorts, term: Term, era: Era) {
    this.#ports = ports;
    this.#term = term;
    this.#era = era;
  }

  /** Tells agents of versions just committed; the outbox rows go with the next pass. */
  announce(documents: readonly DocumentVersion[]): void {
    for (const document of documents) if (this.#publish(document)) this.#announced.push(document);
  }

  /** Empties the outbox as far as the bus takes it. */
  async pass(): Promise<void> {
    const { store, meters } = this.#ports;
    const announced = this.#announced;
    this.#announced = [];
    if (announced.length > 0) await store.clearOutboxUpTo(announced);
    for (;;) {
      const rows = await store.readOutbox(batchSize);
      meters?.outboxPending(rows.length);
      // Of several versions of one document the last says it all.
      const newest = new Map(rows.map((row) => [`${row.hostId} ${row.isolation}`, row]));
      const sent = [...newest.values()].filter((row) => this.#publish(row));
      if (sent.length > 0) await store.clearOutboxUpTo(sent);
      if (rows.length < batchSize || sent.length < newest.size) return;
    }
  }

  #publish({ hostId, isolation, version }: DocumentVersion): boolean {
    const position = { clusterId: this.#term.clusterId, era: this.#era.value, version } as DocumentPosition;
    return this.#ports.bus.publish(subjects.desiredChanged, { hostId, isolation }, { position });
  }
}
