import {
  compareEpochs,
  documentDigest,
  type Assignment,
  type DesiredChanged,
  type DesiredDocument,
  type DocumentPosition,
  type Epoch,
  type Heartbeat,
  type InstanceId,
  type InstanceReport,
  type LeaseGrant,
  type ReportAck,
  type ReportBatch,
  type Tombstone,
  type UsageBatch,
} from "@bulkhead/contracts";
import type { ControlPlane, Subscription } from "@bulkhead/node";
import { clusterId } from "./builders.ts";
import { FakeCommands } from "./fake-commands.ts";

/** What the link does with one message; decided by the test. */
export type Delivery = "once" | "twice" | "lost";

/**
 * A control plane in memory that follows the same rules as the real one: versioned documents with deltas, reports folded
 * once by (journal, seq), acknowledgements, leases. It outlives the agents of a test.
 */
export class FakeControlPlane extends FakeCommands implements ControlPlane {
  position: DocumentPosition = { clusterId, era: 1, version: 0 };
  /** null: nobody answers */
  reachable = true;
  acknowledging = true;
  granting = true;
  term = 1;
  /** decides about each message; commands are not asked */
  link: (message: "changed" | "fetch" | "report" | "ack" | "lease") => Delivery = () => "once";
  readonly folded: InstanceReport[] = [];
  readonly batches: ReportBatch[] = [];
  readonly heartbeats: Heartbeat[] = [];
  readonly usages: UsageBatch[] = [];
  fetches: (DocumentPosition | null)[] = [];
  readonly #rows = new Map<InstanceId, { assignment: Assignment; version: number }>();
  readonly #tombstones: { tombstone: Tombstone; version: number }[] = [];
  readonly #foldedSeq = new Map<string, number>();
  readonly #changed = new Set<(changed: DesiredChanged) => void>();
  readonly #lease = new Set<(grant: LeaseGrant) => void>();
  readonly #ack = new Set<(ack: ReportAck) => void>();

  /** Wants these on the host; a newer epoch of the same instance leaves a tombstone for the older. */
  assign(...assignments: Assignment[]): void {
    this.position = { ...this.position, version: this.position.version + 1 };
    for (const assignment of assignments) {
      const { instanceId, epoch } = assignment;
      const old = this.#rows.get(instanceId)?.assignment;
      if (old !== undefined && compareEpochs(old.epoch, epoch) !== 0) this.#bury(old.instanceId, old.epoch, 10_000);
      this.#rows.set(instanceId, { assignment, version: this.position.version });
    }
    this.announce();
  }

  /** Changes what is wanted of an instance. */
  update(instanceId: InstanceId, change: Partial<Assignment>): void {
    const row = this.#rows.get(instanceId);
    if (row === undefined) throw new Error(`no assignment of ${instanceId}`);
    this.assign({ ...row.assignment, ...change });
  }

  /** Orders the end of an instance's assignment. */
  end(instanceId: InstanceId, graceMs = 10_000): void {
    const row = this.#rows.get(instanceId);
    if (row === undefined) throw new Error(`no assignment of ${instanceId}`);
    this.position = { ...this.position, version: this.position.version + 1 };
    this.#rows.delete(instanceId);
    this.#bury(instanceId, row.assignment.epoch, graceMs);
    this.announce();
  }

  /** Forgets everything, as an emptied database does, without ordering any end. */
  forget(position: Partial<DocumentPosition> = {}): void {
    this.#rows.clear();
    this.#tombstones.length = 0;
    this.#foldedSeq.clear();
    this.position = { ...this.position, ...position };
  }

  announce(): void {
    this.#send("changed", this.#changed, { position: this.position });
  }

  get assignments(): Assignment[] {
    return [...this.#rows.values()].map(({ assignment }) => assignment);
  }

  get tombstones(): Tombstone[] {
    return this.#tombstones.map(({ tombstone }) => tombstone);
  }

  get digest(): string {
    return documentDigest(this.assignments, this.tombstones);
  }

  /** Newest report of an instance. Throws when there is none. */
  newest(instanceId: InstanceId): InstanceReport {
    const found = this.folded.findLast((report) => report.instanceId === instanceId);
    if (found === undefined) throw new Error(`no report of ${instanceId}`);
    return found;
  }

  /** States reported of an instance, in order, repetitions of one state left out. */
  states(instanceId: InstanceId): string[] {
    const states = this.folded.filter((report) => report.instanceId === instanceId).map(({ state }) => state);
    return states.filter((state, index) => state !== states[index - 1]);
  }

  async fetchDesired(have: DocumentPosition | null): Promise<DesiredDocument> {
    this.fetches.push(have);
    if (!this.reachable || this.link("fetch") === "lost") throw new Error("nobody answers");
    const { position } = this;
    const delta =
      have !== null &&
      have.clusterId === position.clusterId &&
      have.era === position.era &&
      have.version <= position.version;
    const since = delta ? have.version : 0;
    return structuredClone({
      position,
      since,
      digest: this.digest,
      assignments: [...this.#rows.values()]
        .filter(({ version }) => version > since)
        .map(({ assignment }) => assignment),
      tombstones: this.#tombstones.filter(({ version }) => version > since).map(({ tombstone }) => tombstone),
    });
  }

  heartbeat(heartbeat: Heartbeat): void {
    if (!this.reachable) return;
    this.heartbeats.push(heartbeat);
    const { sentAtBoottimeNs } = heartbeat;
    const refetch = heartbeat.digest !== this.digest;
    this.#send("lease", this.#lease, { term: this.term, sentAtBoottimeNs, granted: this.granting, refetch });
  }

  report(batch: ReportBatch): void {
    if (!this.reachable) return;
    const delivery = this.link("report");
    for (let times = delivery === "lost" ? 0 : delivery === "twice" ? 2 : 1; times > 0; times -= 1)
      this.#fold(structuredClone(batch));
  }

  usage(batch: UsageBatch): void {
    this.usages.push(batch);
  }

  onChanged(listener: (changed: DesiredChanged) => void): Subscription {
    return this.#subscribe(this.#changed, listener);
  }

  onLease(listener: (grant: LeaseGrant) => void): Subscription {
    return this.#subscribe(this.#lease, listener);
  }

  onReportAck(listener: (ack: ReportAck) => void): Subscription {
    return this.#subscribe(this.#ack, listener);
  }

  /** Sends a grant as it is, for tests of bad ones. */
  grant(grant: LeaseGrant): void {
    for (const listener of this.#lease) listener(grant);
  }

  #bury(instanceId: InstanceId, epoch: Epoch, graceMs: number): void {
    this.#tombstones.push({ tombstone: { instanceId, epoch, graceMs }, version: this.position.version });
  }

  #fold(batch: ReportBatch): void {
    this.batches.push(batch);
    let upToSeq = 0;
    let journal = "";
    for (const report of batch.reports) {
      journal = report.journal;
      upToSeq = Math.max(upToSeq, report.seq);
      if (report.seq <= (this.#foldedSeq.get(journal) ?? 0)) continue;
      this.#foldedSeq.set(journal, report.seq);
      this.folded.push(report);
      if (report.state !== "gone") continue;
      const index = this.#tombstones.findIndex(
        ({ tombstone }) =>
          tombstone.instanceId === report.instanceId && compareEpochs(tombstone.epoch, report.epoch) === 0,
      );
      if (index !== -1) this.#tombstones.splice(index, 1);
    }
    if (this.acknowledging) this.#send("ack", this.#ack, { journal, upToSeq });
  }

  #send<Body>(message: "changed" | "ack" | "lease", listeners: Set<(body: Body) => void>, body: Body): void {
    if (!this.reachable) return;
    const delivery = this.link(message);
    for (let times = delivery === "lost" ? 0 : delivery === "twice" ? 2 : 1; times > 0; times -= 1) {
      queueMicrotask(() => {
        for (const listener of listeners) listener(structuredClone(body));
      });
    }
  }

  #subscribe<Body>(listeners: Set<(body: Body) => void>, listener: (body: Body) => void): Subscription {
    listeners.add(listener);
    return { unsubscribe: () => listeners.delete(listener) };
  }
}
