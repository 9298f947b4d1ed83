import { fleetError, type DesiredDocument, type DocumentPosition } from "@bulkhead/contracts";
import type { AgentName } from "@bulkhead/inventory";
import type { Era } from "./era.ts";
import type { ControlPorts } from "./ports.ts";

/** Answers agents that ask for their desired state. */
export class Documents {
  readonly #ports: ControlPorts;
  readonly #era: Era;

  constructor(ports: ControlPorts, era: Era) {
    this.#ports = ports;
    this.#era = era;
  }

  /**
   * The document, whole or what changed since `have`. An agent that is ahead of the database proves that the database was
   * restored: a new era begins first. Rejects NOT_FOUND for hosts that never joined this control plane.
   */
  async fetch(agent: AgentName, have: DocumentPosition | null): Promise<DesiredDocument> {
    const first = await this.#ports.store.fetchDocument(agent, have);
    if (first.kind === "ahead" && have !== null) {
      await this.#era.restored(agent, { era: have.era, version: have.version });
    }
    const fetched = first.kind === "ahead" ? await this.#ports.store.fetchDocument(agent, have) : first;
    if (fetched.kind === "document") return fetched.document;
    if (fetched.kind === "unknown-host") {
      throw fleetError("NOT_FOUND", `Host ${agent.hostId} has not joined this control plane with ${agent.isolation}.`);
    }
    throw fleetError("PLAN_STALE", "The control plane is starting a new era; ask again.");
  }
}
