import { randomBytes, randomUUID } from "node:crypto";
import {
  uuidV7,
  type Assignment,
  type Digest,
  type HostFacts,
  type HostId,
  type InstanceReport,
  type Isolation,
  type JoinHost,
  type Operation,
  type ReportBatch,
  type WorkloadSpec,
} from "@bulkhead/contracts";
import { demandOf, plan } from "@bulkhead/placement";
import { openInventory, type Change, type Committed, type Inventory } from "../index.ts";

const digest = `sha256:${"a".repeat(64)}` as Digest;
const gib = 1024 ** 3;

/** A new id as the product makes them. */
export const newId = (): string => uuidV7(Date.now(), randomBytes(10));

/** Facts of a host with 4 CPUs and 8 GiB that can enforce everything. */
export const facts = (capacity: Partial<HostFacts["capacity"]> = {}): HostFacts => ({
  hostname: "test",
  kernel: "6.1.0",
  architecture: "x86_64",
  cgroupMode: "v2",
  capacity: { cpuMillis: 4000, memoryBytes: 8 * gib, cpuCount: 4, instancesMax: 1000, ...capacity },
  enforceable: ["resources", "network", "bandwidth"],
  mountAllowList: [],
  problems: [],
});

/** A small specification with every member that placement reads. */
export const spec = (changes: Partial<WorkloadSpec> = {}): WorkloadSpec => ({
  isolation: "container",
  image: "app:latest",
  resources: { cpuMillis: 100, memoryBytes: 64 * 1024 ** 2 },
  replicas: 1,
  ...changes,
});

export interface TestHost {
  readonly hostId: HostId;
  readonly isolation: Isolation;
}

/** A report of an assignment's agent; the journal counts from 1. */
export const report = (
  assignment: Pick<Assignment, "instanceId" | "epoch" | "generation">,
  seq: number,
  changes: Partial<InstanceReport> = {},
): InstanceReport => ({
  seq,
  journal: "j1",
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

/** A batch as the agent of a host sends it. */
export const batch = (host: TestHost, reports: InstanceReport[]): ReportBatch => ({ ...host, reports });

/** An inventory on a database of its own, with the few steps that tests of the control side repeat. */
export class TestFleet implements AsyncDisposable {
  readonly databaseUrl: string;
  readonly inventory: Inventory;
  term = 0;
  era = 1;
  readonly change: Change = { tokenId: randomUUID(), project: "default", traceId: null, traceparent: null };

  private constructor(databaseUrl: string) {
    this.databaseUrl = databaseUrl;
    this.inventory = openInventory({ databaseUrl, poolMax: 8 });
  }

  /** A migrated database with one image, led by this test. */
  static async make(postgres: { database(): Promise<string> }): Promise<TestFleet> {
    const fleet = new TestFleet(await postgres.database());
    await fleet.#begin();
    return fleet;
  }

  /** Empties the database, as a new one with the same name: another cluster, no leader but this test. */
  async reset(): Promise<void> {
    const tables = await this.query<{ name: string }>(
      `SELECT quote_ident(relname) AS name FROM pg_class
       WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> '_prisma_migrations'`,
    );
    await this.query(`TRUNCATE ${tables.map((table) => table.name).join(", ")} RESTART IDENTITY`);
    await this.query(`INSERT INTO project (name) VALUES ('default')`);
    await this.#begin();
  }

  async #begin(): Promise<void> {
    this.term = await this.lead("test");
    this.era = (await this.control.cluster()).era;
    await this.addImage();
  }

  /** Records the one image that workloads of tests use. */
  async addImage(): Promise<void> {
    await this.inventory.api.write((tx) =>
      tx.recordImage(this.change, { digest, sizeBytes: 1, layers: [], config: {} as never, names: ["app:latest"] }),
    );
  }

  get control(): Inventory["control"] {
    return this.inventory.control;
  }

  /** Takes the lease, whoever had it. */
  async lead(holder: string, ttlMs = 60_000): Promise<number> {
    const deadHolder = (await this.control.leaseHolder()) ?? "";
    const term = await this.control.acquireLeadership({ holder, ttlMs, deadHolder });
    if (term === null) throw new Error("the lease was not free");
    return term;
  }

  async addHost(changes: Partial<JoinHost> = {}): Promise<TestHost> {
    const hostId = newId();
    const join = {
      hostId,
      name: `host-${hostId.slice(-12)}`,
      isolation: "container",
      publicKey: `U${"A".repeat(55)}`,
      facts: facts(),
      ...changes,
    } as JoinHost;
    await this.control.joinHost(join);
    return { hostId: join.hostId, isolation: join.isolation };
  }

  /** Declares a workload; its instances are pending. */
  addWorkload(
    name: string,
    changes: Partial<WorkloadSpec> = {},
    origin: Partial<Pick<Change, "traceId" | "traceparent">> = {},
  ): Promise<Operation> {
    return this.inventory.api.write((tx) =>
      tx.createWorkload({ ...this.change, ...origin }, { name, spec: spec(changes), imageDigest: digest }),
    );
  }

  /** One placement pass: read, plan, commit. */
  async place(term = this.term): Promise<Committed> {
    const { instances: pending } = await this.control.readPending(1000);
    const hosts = await this.control.readHosts();
    const requests = pending.map((instance) => ({ instanceId: instance.id, demand: demandOf(instance.spec) }));
    return this.control.commitPlan({
      term,
      era: this.era,
      plan: plan({ hosts }, requests),
      pending: new Map(pending.map((instance) => [instance.id, instance])),
    });
  }

  /** Assignments in the document of a host, as its agent would hold them. */
  async assignments(host: TestHost): Promise<Assignment[]> {
    const fetched = await this.control.fetchDocument(host, { have: null });
    return fetched.kind === "document" ? fetched.document.assignments : [];
  }

  /** One workload with one instance, placed on a host of its own. */
  async placedInstance(
    name: string,
    changes: Partial<WorkloadSpec> = {},
  ): Promise<{ host: TestHost; assignment: Assignment }> {
    const host = await this.addHost();
    await this.addWorkload(name, changes);
    await this.place();
    const [assignment] = await this.assignments(host);
    if (assignment === undefined) throw new Error("nothing was placed");
    return { host, assignment };
  }

  fold(...batches: ReportBatch[]) {
    return this.control.foldReports(this.term, batches);
  }

  /** Rows of any query, for assertions. */
  async query<Row>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return (await this.inventory.database.pool.query(text, [...values])).rows as Row[];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.inventory[Symbol.asyncDispose]();
  }
}
