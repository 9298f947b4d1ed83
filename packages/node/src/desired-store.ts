import {
  compareEpochs,
  documentDigest,
  type Assignment,
  type ClusterId,
  type DesiredDocument,
  type DocumentPosition,
  type InstanceId,
  type Tombstone,
} from "@bulkhead/contracts";
import type { Clock, Timer } from "./clock.ts";
import { Flusher } from "./flusher.ts";
import { decodeRecords, encodeRecord } from "./records.ts";
import type { Storage } from "./storage.ts";

/** A new document is saved this much later, in milliseconds: its fsyncs must not stand in the way of the starts it orders. */
const saveDelayMs = 100;

export type Acceptance =
  /** applied; whether it adds up to the sender's digest is the caller's next question */
  | { readonly kind: "accepted"; readonly touched: ReadonlySet<InstanceId> }
  | { readonly kind: "unchanged" }
  /** it builds on what is not here: the whole document is needed */
  | { readonly kind: "whole" }
  /** obeying it would be wrong; `problem` is for people */
  | { readonly kind: "refused"; readonly problem: string };

/**
 * The document this host obeys, in memory and on disk. It only ever moves forward within one cluster: another cluster's,
 * an older era's and an older version's documents are refused, so that an empty or restored database cannot empty a host.
 */
export class DesiredStore {
  readonly #storage: Storage;
  readonly #name: string;
  readonly #flusher: Flusher;
  readonly #clock: Clock;
  #save: Timer | null = null;
  readonly #clusterId: ClusterId;
  readonly #assignments = new Map<InstanceId, Assignment>();
  readonly #tombstones = new Map<InstanceId, readonly Tombstone[]>();
  #position: DocumentPosition | null = null;
  #digest: string | null = null;

  private constructor(options: { storage: Storage; name: string; clock: Clock; clusterId: ClusterId }) {
    this.#storage = options.storage;
    this.#name = options.name;
    this.#clusterId = options.clusterId;
    this.#clock = options.clock;
    this.#flusher = new Flusher(() => this.#write(), options.clock);
  }

  /** `clusterId` is whom this host joined; a document already on disk outranks it. */
  static async open(options: {
    storage: Storage;
    name: string;
    clock: Clock;
    clusterId: ClusterId;
  }): Promise<DesiredStore> {
    const store = new DesiredStore(options);
    const [saved] = decodeRecords((await options.storage.read(options.name)) ?? new Uint8Array()).values;
    if (saved !== undefined) {
      const document = saved as DesiredDocument;
      store.#replace(document);
      store.#position = document.position;
    }
    return store;
  }

  get problem(): string | null {
    return this.#flusher.problem;
  }

  get position(): DocumentPosition | null {
    return this.#position;
  }

  /** documentDigest() of what is held; null before the first document. */
  get digest(): string | null {
    if (this.#position === null) return null;
    this.#digest ??= documentDigest([...this.#assignments.values()], [...this.#tombstones.values()].flat());
    return this.#digest;
  }

  get instanceIds(): ReadonlySet<InstanceId> {
    return new Set([...this.#assignments.keys(), ...this.#tombstones.keys()]);
  }

  assignmentOf(instanceId: InstanceId): Assignment | null {
    return this.#assignments.get(instanceId) ?? null;
  }

  /** Oldest epoch first. */
  tombstonesOf(instanceId: InstanceId): readonly Tombstone[] {
    return this.#tombstones.get(instanceId) ?? [];
  }

  /** Takes a document in, or says why not. It is on disk soon after, not before: starting must not wait for that. */
  accept(document: DesiredDocument): Acceptance {
    const refusal = this.#refusal(document.position);
    if (refusal !== null) return { kind: "refused", problem: refusal };
    const held = this.#position;
    const { position, since } = document;
    const newEra = held !== null && position.era > held.era;
    if (held === null || newEra ? since !== 0 : since > held.version) return { kind: "whole" };
    if (held !== null && !newEra && position.version === held.version) {
      if (this.digest === document.digest) return { kind: "unchanged" };
      if (since !== 0) return { kind: "whole" };
    }
    const touched = since === 0 ? this.#replace(document) : this.#merge(document);
    this.#position = position;
    this.#digest = null;
    this.#save ??= this.#clock.after(saveDelayMs, () => {
      this.#save = null;
      this.#flusher.touch();
    });
    return { kind: "accepted", touched };
  }

  async close(): Promise<void> {
    this.#save?.cancel();
    await this.#flusher.close();
  }

  #refusal(offered: DocumentPosition): string | null {
    const held = this.#position;
    const clusterId = held?.clusterId ?? this.#clusterId;
    if (offered.clusterId !== clusterId) {
      return `a control plane of cluster ${offered.clusterId} offers orders; this host obeys cluster ${clusterId}`;
    }
    if (held === null) return null;
    if (offered.era < held.era || (offered.era === held.era && offered.version < held.version)) {
      const place = ({ era, version }: DocumentPosition): string => `era ${era} version ${version}`;
      return `the control plane offers ${place(offered)}, older than ${place(held)} of this host; was its database restored?`;
    }
    return null;
  }

  #replace(document: DesiredDocument): Set<InstanceId> {
    const touched = new Set(this.instanceIds);
    this.#assignments.clear();
    this.#tombstones.clear();
    for (const id of this.#merge(document)) touched.add(id);
    return touched;
  }

  #merge(document: DesiredDocument): Set<InstanceId> {
    const touched = new Set<InstanceId>();
    for (const assignment of document.assignments) {
      this.#assignments.set(assignment.instanceId, assignment);
      touched.add(assignment.instanceId);
    }
    for (const tombstone of document.tombstones) {
      const { instanceId, epoch } = tombstone;
      const others = this.tombstonesOf(instanceId).filter((other) => compareEpochs(other.epoch, epoch) !== 0);
      this.#tombstones.set(
        instanceId,
        [...others, tombstone].sort((a, b) => compareEpochs(a.epoch, b.epoch)),
      );
      const assignment = this.#assignments.get(instanceId);
      if (assignment !== undefined && compareEpochs(assignment.epoch, epoch) <= 0) this.#assignments.delete(instanceId);
      touched.add(instanceId);
    }
    return touched;
  }

  async #write(): Promise<void> {
    if (this.#position === null) return;
    const document: DesiredDocument = {
      position: this.#position,
      since: 0,
      digest: this.digest ?? "",
      assignments: [...this.#assignments.values()],
      tombstones: [...this.#tombstones.values()].flat(),
    };
    await this.#storage.replace(this.#name, Buffer.from(encodeRecord(document)));
  }
}
