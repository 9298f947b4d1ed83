import type { Heartbeat } from "@bulkhead/contracts";
import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { defaultRetention, migrate, type AgentNews } from "../index.ts";
import { batch, facts, newId, report, TestFleet, type TestHost } from "../testing/fixture.ts";

let postgres: TestPostgres;
let fleet: TestFleet;
beforeAll(async () => {
  postgres = await startPostgres({ migrate });
  fleet = await TestFleet.make(postgres);
});
beforeEach(() => fleet.reset());
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const news = (host: TestHost, changes: Partial<AgentNews> = {}): AgentNews => ({
  ...host,
  state: "ready",
  heardMsAgo: 0,
  heartbeat: { bootId: "b", facts: facts(), unknown: [] },
  reachedVersion: 1,
  foreignClusterId: null,
  ...changes,
});
const version = async (host: TestHost) =>
  (await fleet.query<{ version: number }>(`SELECT version FROM host WHERE id = $1`, [host.hostId]))[0]?.version;
const told = async (type: string) => {
  await fleet.control.publishEvents(fleet.term);
  return fleet.query<{ data: Record<string, unknown> }>(`SELECT data FROM event WHERE type = $1 ORDER BY id`, [type]);
};

describe("joining", () => {
  test("a name that another host has is refused, with nothing written", async () => {
    await fleet.addHost({ name: "alpha" });
    await expect(fleet.addHost({ name: "alpha" })).rejects.toMatchObject({ code: "NAME_TAKEN" });
    expect(await fleet.query(`SELECT 1 FROM host_agent`)).toHaveLength(1);
  });

  test("again: new key and facts, labels are added, told once", async () => {
    const host = await fleet.addHost({ labels: { zone: "a" } });
    await fleet.query(`UPDATE host SET labels = labels || '{"rack": "7"}'`);
    await fleet.addHost({ ...host, name: "alpha", labels: { zone: "b" }, publicKey: `U${"B".repeat(55)}` });
    expect(await fleet.query(`SELECT name, labels FROM host`)).toEqual([
      { name: "alpha", labels: { zone: "b", rack: "7" } },
    ]);
    expect(await told("host.joined")).toHaveLength(1);
  });
});

describe("news of agents", () => {
  test("only what placement reads raises the host's version", async () => {
    const host = await fleet.addHost();
    const before = await version(host);
    await fleet.control.recordAgents(fleet.term, [news(host)]);
    expect(await version(host)).toBe(before);
    await fleet.control.recordAgents(fleet.term, [news(host, { state: "suspect", heartbeat: null })]);
    expect(await version(host)).toBe((before ?? 0) + 1);
    const bigger = { bootId: "b", facts: facts({ cpuMillis: 8000 }), unknown: [] };
    await fleet.control.recordAgents(fleet.term, [news(host, { heartbeat: bigger })]);
    expect(await version(host)).toBe((before ?? 0) + 2);
    const [seen] = await fleet.control.readHosts([host.hostId]);
    expect(seen?.agents[0]).toMatchObject({ state: "ready", capacity: { cpuMillis: 8000 }, foreign: false });
    expect((await told("host.state")).map((event) => event.data["state"])).toEqual(["suspect", "ready"]);
  });

  test("an agent of another control plane is marked, and unmarked when it comes back", async () => {
    const host = await fleet.addHost();
    await fleet.control.recordAgents(fleet.term, [news(host, { foreignClusterId: crypto.randomUUID() })]);
    expect((await fleet.control.readHosts())[0]?.agents[0]?.foreign).toBe(true);
    await fleet.control.recordAgents(fleet.term, [news(host)]);
    expect((await fleet.control.readHosts())[0]?.agents[0]?.foreign).toBe(false);
  });

  test("unknown instances are kept for the reader, without those the database knows", async () => {
    const { host, assignment } = await fleet.placedInstance("web");
    const run = (instanceId: string) => ({ instanceId, name: "x", epoch: { era: 1, n: 1 } });
    const [stranger, own] = [run(newId()), run(assignment.instanceId)];
    const heartbeat = { bootId: "b", facts: facts(), unknown: [stranger, own] as Heartbeat["unknown"] };
    await fleet.control.recordAgents(fleet.term, [news(host, { heartbeat })]);
    expect(await fleet.query(`SELECT unknown_instances AS runs FROM host_agent`)).toEqual([{ runs: [stranger] }]);
  });
});

describe("a lost host", () => {
  const lose = (host: TestHost, quietMs: number) =>
    fleet.control.replaceLost(fleet.term, [{ ...host, quietMs: () => quietMs }], 1_000);

  test("replaces only what allows it, only after its own lease and the drift", async () => {
    const { host } = await fleet.placedInstance("short", { onLoss: "replace", leaseMs: 5_000 });
    await fleet.query(`UPDATE host SET labels = '{"here": "1"}', version = version + 1`);
    const here = { constraints: { hostLabels: { here: "1" } } };
    await fleet.addWorkload("long", { ...here, onLoss: "replace", leaseMs: 60_000 });
    await fleet.addWorkload("default", { ...here, onLoss: "replace" });
    await fleet.addWorkload("keep", { ...here, onLoss: "keep", leaseMs: 5_000 });
    await fleet.place();
    expect(await lose(host, 5_999)).toBe(0);
    expect(await lose(host, 6_000)).toBe(1);
    expect(await lose(host, 61_000)).toBe(1);
    expect(await lose(host, 301_000)).toBe(1);
    expect(await lose(host, 1e9)).toBe(0);
    expect(
      await fleet.query(`SELECT name, state, reason, host_id IS NULL AS free FROM instance ORDER BY name`),
    ).toEqual([
      { name: "default-0", state: "pending", reason: "Replaced", free: true },
      { name: "keep-0", state: "assigned", reason: null, free: false },
      { name: "long-0", state: "pending", reason: "Replaced", free: true },
      { name: "short-0", state: "pending", reason: "Replaced", free: true },
    ]);
  });

  test("the new assignment has a later epoch, the old one a tombstone; late reports of the old one change nothing", async () => {
    const { host, assignment } = await fleet.placedInstance("web", { onLoss: "replace", leaseMs: 5_000 });
    await fleet.fold(batch(host, [report(assignment, 1)]));
    await fleet.query(`UPDATE host SET cordoned = true, version = version + 1`);
    await lose(host, 10_000);
    const other = await fleet.addHost();
    await fleet.place();
    const [next] = await fleet.assignments(other);
    expect(next).toMatchObject({ instanceId: assignment.instanceId, epoch: { era: 1, n: 2 } });
    const old = await fleet.control.fetchDocument(host, { have: null });
    expect(old).toMatchObject({ document: { assignments: [], tombstones: [{ epoch: { era: 1, n: 1 } }] } });
    await fleet.fold(batch(host, [report(assignment, 2, { state: "lost", reason: "LeaseExpired" })]));
    expect(await fleet.query(`SELECT state, epoch_n FROM instance`)).toEqual([{ state: "assigned", epoch_n: 2 }]);
  });

  test.each([`state = 'stopped'`, `state = 'failed'`, `desired = 'stopped'`, `removing = true`])(
    "is not left for another by what needs no host: %s",
    async (change) => {
      const { host } = await fleet.placedInstance("web", { onLoss: "replace", leaseMs: 5_000 });
      await fleet.query(`UPDATE instance SET ${change}`);
      expect(await lose(host, 1e9)).toBe(0);
    },
  );
});

test("a host of 16 TiB has its size read as any other's", async () => {
  const engine = { name: "kvm" as const, overheadBytes: 0, overheadBytesPerMib: 0, emulatorMillis: 0 };
  const machines = { engine: engine.name, engines: [engine], kvm: "kvm" as const, reason: "" };
  await fleet.addHost({ isolation: "vm", facts: { ...facts({ memoryBytes: 2 ** 44 }), machines } });
  expect((await fleet.inventory.api.read.largestCapacity("vm"))?.memoryBytes).toBe(2 ** 44);
});

describe("a restored database", () => {
  const adopt = (host: TestHost, instanceId: string, epoch: { era: number; n: number }) =>
    fleet.control.adoptRuns(fleet.term, host, [{ instanceId, epoch }]);

  test("a new era begins once, above what the agent saw; every document is new", async () => {
    const { host } = await fleet.placedInstance("web");
    const request = { term: fleet.term, seenEra: 4, hostId: host.hostId, reason: "test" };
    expect(await fleet.control.startEra(request)).toBe(5);
    expect(await fleet.control.startEra(request)).toBe(5);
    expect(await told("cluster.era")).toEqual([{ data: { era: 5, reason: "test" } }]);
    await fleet.control.liftVersion(fleet.term, { ...host, version: 40 });
    expect(await fleet.control.readHeads([host])).toMatchObject([{ era: 5, version: 41 }]);
    await fleet.control.liftVersion(fleet.term, { ...host, version: 40 });
    expect(await fleet.control.readHeads([host])).toMatchObject([{ version: 41 }]);
  });

  test("what waits in the database but runs on a host is adopted there, with its epoch", async () => {
    const host = await fleet.addHost();
    await fleet.addWorkload("web");
    const [instance] = (await fleet.control.readPending(1)).instances;
    const id = instance?.id ?? "";
    expect(await adopt(host, id, { era: 1, n: 3 })).toEqual({ adopted: 1, ended: 0 });
    expect(await fleet.assignments(host)).toMatchObject([{ instanceId: id, epoch: { era: 1, n: 3 }, name: "web-0" }]);
    expect(await fleet.query(`SELECT state, era, epoch_n, host_id FROM instance`)).toEqual([
      { state: "running", era: 1, epoch_n: 3, host_id: host.hostId },
    ]);
    expect((await fleet.control.readHosts())[0]?.held).toMatchObject({ cpuMillis: 100, instances: 1 });
    expect(await adopt(host, id, { era: 1, n: 3 })).toEqual({ adopted: 0, ended: 0 });
    expect(await fleet.control.readPending(1)).toEqual({ instances: [], more: false });
  });

  test("a machine that is adopted holds what its monitor uses besides", async () => {
    const engine = { name: "qemu" as const, overheadBytes: 1000, overheadBytesPerMib: 2, emulatorMillis: 250 };
    const machines = { engine: engine.name, engines: [engine], kvm: "none" as const, reason: "" };
    const host = await fleet.addHost({ isolation: "vm", facts: { ...facts(), machines } });
    await fleet.addWorkload("web", { isolation: "vm", resources: { cpuMillis: 500, memoryBytes: 2 ** 28 } });
    const [instance] = (await fleet.control.readPending(1)).instances;
    expect(await adopt(host, instance?.id ?? "", { era: 1, n: 3 })).toEqual({ adopted: 1, ended: 0 });
    const held = { cpuMillis: 750, memoryBytes: 2 ** 28 + 1000 + 2 * 256 };
    expect((await fleet.control.readHosts())[0]?.held).toMatchObject(held);
  });

  test("what runs elsewhere with a later epoch than the database knows is adopted there, the older one buried", async () => {
    const { host, assignment } = await fleet.placedInstance("web");
    const other = await fleet.addHost();
    await fleet.control.startEra({ term: fleet.term, seenEra: 1, hostId: other.hostId, reason: "test" });
    expect(await adopt(other, assignment.instanceId, { era: 1, n: 2 })).toEqual({ adopted: 1, ended: 0 });
    expect(await fleet.assignments(host)).toEqual([]);
    expect(await fleet.assignments(other)).toMatchObject([{ epoch: { era: 1, n: 2 } }]);
    expect(await fleet.query(`SELECT count(*)::int AS live FROM assignment WHERE NOT tombstone`)).toEqual([
      { live: 1 },
    ]);
  });

  test("no host can claim another's instance by a later epoch of the present era, all of which the database gave", async () => {
    const { host, assignment } = await fleet.placedInstance("web");
    const other = await fleet.addHost();
    expect(await adopt(other, assignment.instanceId, { era: 1, n: 2 })).toEqual({ adopted: 0, ended: 0 });
    expect(await fleet.assignments(host)).toHaveLength(1);
    expect(await fleet.query(`SELECT host_id, epoch_n FROM instance`)).toEqual([{ host_id: host.hostId, epoch_n: 1 }]);
  });

  test("a run that a later assignment has replaced is ordered to end", async () => {
    const { assignment } = await fleet.placedInstance("web");
    await fleet.query(`UPDATE instance SET era = 2`);
    await fleet.query(`UPDATE assignment SET era = 2`);
    const other = await fleet.addHost();
    expect(await adopt(other, assignment.instanceId, { era: 1, n: 7 })).toEqual({ adopted: 0, ended: 1 });
    expect(await fleet.control.fetchDocument(other, { have: null })).toMatchObject({
      document: { assignments: [], tombstones: [{ instanceId: assignment.instanceId, epoch: { era: 1, n: 7 } }] },
    });
    expect(await fleet.query(`SELECT era, epoch_n FROM instance`)).toEqual([{ era: 2, epoch_n: 1 }]);
  });

  test("of two runs of one instance the later one counts, whichever is named first", async () => {
    const host = await fleet.addHost();
    await fleet.addWorkload("web");
    const [instance] = (await fleet.control.readPending(1)).instances;
    const instanceId = instance?.id ?? "";
    const runs = [2, 4, 3].map((n) => ({ instanceId, epoch: { era: 1, n } }));
    const adopted = await fleet.control.adoptRuns(fleet.term, host, [...runs, ...runs]);
    expect(adopted).toEqual({ adopted: 1, ended: 0 });
    expect(await fleet.assignments(host)).toMatchObject([{ instanceId, epoch: { era: 1, n: 4 } }]);
    // The others are asked about again, and are older than what is assigned by then.
    expect(await fleet.control.adoptRuns(fleet.term, host, runs.slice(2))).toEqual({ adopted: 0, ended: 1 });
  });

  test("of an instance that is being removed it is ordered to end, and the removal completes", async () => {
    const host = await fleet.addHost();
    await fleet.addWorkload("web");
    const [instance] = (await fleet.control.readPending(1)).instances;
    await fleet.query(`UPDATE instance SET removing = true`);
    await fleet.query(`UPDATE workload SET deleting = true`);
    const id = instance?.id ?? "";
    expect(await adopt(host, id, { era: 1, n: 1 })).toEqual({ adopted: 0, ended: 1 });
    const run = { instanceId: id, epoch: { era: 1, n: 1 }, generation: 1 } as never;
    await fleet.fold(batch(host, [report(run, 1, { state: "gone" })]));
    expect(await fleet.query(`SELECT 1 FROM instance UNION ALL SELECT 1 FROM workload`)).toEqual([]);
  });

  test("an instance that the database does not know is left alone", async () => {
    const host = await fleet.addHost();
    expect(await adopt(host, newId(), { era: 1, n: 1 })).toEqual({ adopted: 0, ended: 0 });
    expect(await fleet.control.fetchDocument(host, { have: null })).toMatchObject({
      document: { assignments: [], tombstones: [] },
    });
  });
});

describe("an empty database", () => {
  test("has an identity of its own, the same for everyone who asks at once", async () => {
    await fleet.query(`DELETE FROM cluster`);
    const identities = await Promise.all(Array.from({ length: 20 }, () => fleet.control.cluster()));
    expect(new Set(identities.map((identity) => identity.clusterId)).size).toBe(1);
    expect(identities[0]?.era).toBe(1);
  });
});

describe("retention", () => {
  const removed = (keep: Partial<typeof defaultRetention>) =>
    fleet.control.removeOld(fleet.term, { ...defaultRetention, ...keep });

  test("events go by age and by number, always the oldest", async () => {
    await fleet.control.publishEvents(fleet.term);
    await fleet.query(`TRUNCATE event RESTART IDENTITY`);
    await fleet.query(
      `INSERT INTO event (type, at) SELECT 'cluster.era', now() - (10.5 - n) * interval '1 day' FROM generate_series(1, 10) n`,
    );
    expect((await removed({})).events).toBe(3);
    expect((await removed({ eventRows: 2 })).events).toBe(5);
    expect(await fleet.query(`SELECT id::int FROM event ORDER BY id`)).toEqual([{ id: 9 }, { id: 10 }]);
    expect((await removed({ eventRows: 2 })).events).toBe(0);
  });

  test("answers after a day, finished operations after thirty, running ones never", async () => {
    await fleet.query(
      `INSERT INTO idempotency_key (token_id, key, body_hash, created_at)
       SELECT gen_random_uuid(), n::text, '', now() - n * interval '20 hours' FROM generate_series(0, 3) n`,
    );
    await fleet.query(
      `INSERT INTO operation (id, project, kind, state, target_type, target_id, created_at, finished_at)
       SELECT gen_random_uuid(), 'default', 'workload.create', s, 'workload', '', now() - n * interval '25 days',
         CASE WHEN s <> 'running' THEN now() - n * interval '25 days' END
       FROM generate_series(0, 2) n, unnest(ARRAY['running', 'succeeded', 'failed']) s`,
    );
    expect(await removed({})).toMatchObject({ idempotencyKeys: 2, operations: 2 });
  });
});
