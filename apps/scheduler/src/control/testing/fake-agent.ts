import type { Bus } from "@bulkhead/bus";
import {
  compareEpochs,
  documentDigest,
  subjects,
  type Assignment,
  type DesiredDocument,
  type DocumentPosition,
  type Heartbeat,
  type InstanceReport,
  type LeaseGrant,
  type Tombstone,
} from "@bulkhead/contracts";
import { facts, type TestHost } from "@bulkhead/inventory/testing";

/** What an agent does on the bus, without a runtime: every assignment runs at once, every tombstone ends its run. */
export class FakeAgent implements AsyncDisposable {
  readonly host: TestHost;
  readonly bus: Bus;
  position: DocumentPosition | null = null;
  assignments = new Map<string, Assignment>();
  tombstones = new Map<string, Tombstone>();
  /** what runs, by instance; the only thing that survives the loss of everything else */
  running = new Map<string, { readonly epoch: Assignment["epoch"]; readonly name: string }>();
  /** every start, so that a second one of the same epoch shows */
  starts: string[] = [];
  grants: LeaseGrant[] = [];
  /** what the start of an assignment leads to; running without it */
  outcome: (assignment: Assignment) => Partial<InstanceReport> = () => ({ state: "running" });
  /** false: an agent of the version before, which asks for the document in one answer */
  paged = true;
  /** false: reports are kept back */
  reporting = true;
  journal = "journal-1";
  #reports: InstanceReport[] = [];
  #seq = 0;
  #fetching: Promise<void> | undefined;
  #again = false;
  readonly #timers: NodeJS.Timeout[] = [];
  readonly #subscriptions;

  constructor(host: TestHost, bus: Bus) {
    this.host = host;
    this.bus = bus;
    this.#subscriptions = [
      bus.subscribe(subjects.desiredChanged, host, () => this.fetch()),
      bus.subscribe(subjects.lease, host, (grant) => {
        this.grants.push(grant);
        if (grant.refetch) this.fetch();
      }),
      bus.subscribe(subjects.reportAck, host, ({ journal, upToSeq }) => {
        if (journal === this.journal) this.#reports = this.#reports.filter((report) => report.seq > upToSeq);
      }),
    ];
  }

  /** Heartbeats and repeats reports at this interval, in milliseconds. */
  beat(everyMs: number): void {
    this.heartbeat();
    this.#timers.push(
      setInterval(() => {
        this.heartbeat();
        this.send();
      }, everyMs),
    );
  }

  /** As after a network failure: nothing is sent any more. */
  silence(): void {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
  }

  get pendingReports(): number {
    return this.#reports.length;
  }

  heartbeat(changes: Partial<Heartbeat> = {}): void {
    const known = (id: string) => this.assignments.has(id) || this.tombstones.has(id);
    this.bus.publish(subjects.heartbeat, this.host, {
      ...this.host,
      bootId: "boot",
      sentAtBoottimeNs: String(process.hrtime.bigint()),
      position: this.position,
      digest: this.position === null ? null : this.digest,
      facts: facts(),
      instances: this.running.size,
      unknown: [...this.running]
        .filter(([id]) => !known(id))
        .map(([instanceId, { epoch, name }]) => ({ instanceId, epoch, name })),
      highestEra: this.position?.era ?? 0,
      ...changes,
    } as Heartbeat);
  }

  get digest(): string {
    return documentDigest([...this.assignments.values()], [...this.tombstones.values()]);
  }

  fetch(): void {
    this.#again = true;
    this.#fetching ??= this.#fetchAll().finally(() => {
      this.#fetching = undefined;
    });
  }

  /** Adds a report and sends what is not acknowledged. */
  report(assignment: Pick<Assignment, "instanceId" | "epoch" | "generation">, changes: Partial<InstanceReport>): void {
    this.#seq += 1;
    this.#reports.push({
      seq: this.#seq,
      journal: this.journal,
      instanceId: assignment.instanceId,
      epoch: assignment.epoch,
      attempt: 1,
      generation: assignment.generation,
      state: "running",
      reason: null,
      detail: null,
      exit: null,
      resize: null,
      contractHeld: null,
      restarts: 0,
      at: new Date().toISOString(),
      ...changes,
    });
    this.send();
  }

  send(): void {
    if (!this.reporting || this.#reports.length === 0) return;
    this.bus.publish(subjects.report, this.host, { ...this.host, reports: this.#reports.slice(0, 500) });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.silence();
    for (const subscription of this.#subscriptions) subscription.unsubscribe();
    await this.#fetching;
    await this.bus.drain();
  }

  async #fetchAll(): Promise<void> {
    while (this.#again) {
      this.#again = false;
      // A lost database or bus: the next hint or heartbeat asks again.
      const document = await this.#read().catch(() => undefined);
      if (document === undefined) return;
      const { position, since } = document;
      if (this.position !== null && position.clusterId !== this.position.clusterId) return;
      if (this.position !== null && position.era < this.position.era) return;
      if (since === 0) {
        this.assignments.clear();
        this.tombstones.clear();
      }
      this.position = position;
      for (const assignment of document.assignments) this.assignments.set(assignment.instanceId, assignment);
      for (const tombstone of document.tombstones) {
        this.tombstones.set(`${tombstone.instanceId} ${tombstone.epoch.era}.${tombstone.epoch.n}`, tombstone);
      }
      this.#reconcile();
    }
  }

  async #read(): Promise<DesiredDocument> {
    const have = this.position;
    let page = await this.bus.request(subjects.fetchDesired, this.host, {
      have,
      ...(this.paged ? { after: null } : {}),
    });
    const pages = [page];
    while (page.next !== undefined) {
      page = await this.bus.request(subjects.fetchDesired, this.host, { have, after: page.next });
      pages.push(page);
    }
    return {
      ...page,
      assignments: pages.flatMap((one) => one.assignments),
      tombstones: pages.flatMap((one) => one.tombstones),
    };
  }

  #reconcile(): void {
    for (const { instanceId, epoch } of this.tombstones.values()) {
      const assigned = this.assignments.get(instanceId);
      if (assigned !== undefined && compareEpochs(assigned.epoch, epoch) <= 0) this.assignments.delete(instanceId);
      const run = this.running.get(instanceId);
      if (run === undefined || compareEpochs(run.epoch, epoch) !== 0) continue;
      this.running.delete(instanceId);
      this.report({ instanceId, epoch, generation: 1 }, { state: "gone" });
    }
    for (const assignment of this.assignments.values()) {
      const { instanceId, epoch, name, desired } = assignment;
      const run = this.running.get(instanceId);
      if (desired !== "running" || (run !== undefined && compareEpochs(run.epoch, epoch) >= 0)) continue;
      this.running.set(instanceId, { epoch, name });
      this.starts.push(`${instanceId} ${epoch.era}.${epoch.n}`);
      this.report(assignment, this.outcome(assignment));
    }
  }
}
