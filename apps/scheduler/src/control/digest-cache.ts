import type { DocumentPosition } from "@bulkhead/contracts";
import type { ControlStore, DocumentHead } from "@bulkhead/inventory";

interface Known {
  readonly era: number;
  readonly version: number;
  readonly digest: string;
}

/** Digests of agents' documents, computed again only for a new version: every heartbeat is compared with one. */
export class DigestCache {
  readonly #store: ControlStore;
  readonly #known = new Map<string, Known>();

  constructor(store: ControlStore) {
    this.#store = store;
  }

  /** Digest of the document at this head, or of a later version; undefined when the agent is gone. */
  async of(head: DocumentHead): Promise<string | undefined> {
    const { hostId, isolation, era, version } = head;
    const key = `${hostId} ${isolation}`;
    const known = this.#known.get(key);
    if (known !== undefined && known.era === era && known.version >= version) return known.digest;
    // Asking for what changed since this very version costs no documents.
    const have = { clusterId: head.clusterId, era, version } as DocumentPosition;
    const fetched = await this.#store.fetchDocument({ hostId, isolation }, have);
    if (fetched.kind !== "document") return undefined;
    const { position, digest } = fetched.document;
    this.#known.set(key, { era: position.era, version: position.version, digest });
    return digest;
  }
}
