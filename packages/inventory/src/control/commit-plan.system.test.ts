import { demandOf, plan } from "@bulkhead/placement";
import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { migrate } from "../index.ts";
import { facts, spec, TestFleet } from "../testing/fixture.ts";

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

/** What a scheduler would commit, read now. */
const planned = async () => {
  const { instances: pending } = await fleet.control.readPending(1000);
  const hosts = await fleet.control.readHosts();
  const requests = pending.map((instance) => ({ instanceId: instance.id, demand: demandOf(instance.spec) }));
  return {
    term: fleet.term,
    era: fleet.era,
    plan: plan({ hosts }, requests),
    pending: new Map(pending.map((instance) => [instance.id, instance])),
  };
};

describe("one commit", () => {
  test("writes the assignment, the document's version, the outbox row and the event together", async () => {
    const host = await fleet.addHost();
    await fleet.addWorkload("web");
    const committed = await fleet.place();
    expect(committed.placed.size).toBe(1);
    expect(committed.documents).toEqual([{ ...host, version: 1 }]);
    expect(await fleet.control.readOutbox(10)).toMatchObject([{ ...host, version: 1 }]);
    const [assignment] = await fleet.assignments(host);
    expect(assignment).toMatchObject({
      name: "web-0",
      workload: "web",
      project: "default",
      generation: 1,
      epoch: { era: 1, n: 1 },
      desired: "running",
      spec: { resources: spec().resources },
      cpuIds: [],
    });
    expect(await fleet.query(`SELECT state, host_id, era, epoch_n, rejections FROM instance`)).toEqual([
      { state: "assigned", host_id: host.hostId, era: 1, epoch_n: 1, rejections: [] },
    ]);
    await fleet.control.publishEvents(fleet.term);
    expect(await fleet.query(`SELECT type, host_id FROM event WHERE type = 'instance.placed'`)).toEqual([
      { type: "instance.placed", host_id: host.hostId },
    ]);
  });

  test("a machine holds what its monitor uses besides, by the engine that its host tells of", async () => {
    const engine = {
      name: "kvm",
      overheadBytes: 32 * 2 ** 20,
      overheadBytesPerMib: 8192,
      emulatorMillis: 100,
    } as const;
    const machines = { engine: "kvm", engines: [engine], kvm: "kvm", reason: "" } as const;
    const gib = 2 ** 30;
    const held = gib + engine.overheadBytes + 1024 * engine.overheadBytesPerMib;
    const capacity = { ...facts().capacity, memoryBytes: held + gib };
    const host = await fleet.addHost({
      isolation: "vm",
      facts: { ...facts(), capacity, machines: { ...machines, engines: [engine] } },
    });
    const resources = { cpuMillis: 1000, memoryBytes: gib };
    await fleet.addWorkload("one", { isolation: "vm", resources });
    await fleet.place();
    const [row] = await fleet.query(`SELECT cpu_millis, memory_bytes::float8 FROM assignment`);
    expect(row).toEqual({ cpu_millis: 1100, memory_bytes: held });
    // The RAM of another would fit; what its monitor uses does not.
    await fleet.addWorkload("two", { isolation: "vm", resources });
    const { plan: made } = await planned();
    const reason = `needs ${held} bytes of memory (${held - gib} of it its monitor's), ${gib} are free`;
    expect(made.unplaced).toMatchObject([{ rejections: [{ hostId: host.hostId, reason }] }]);
    expect(await fleet.inventory.api.read.largestCapacity("vm")).toEqual({
      cpuMillis: capacity.cpuMillis - 100,
      memoryBytes: Math.floor(((held + gib - engine.overheadBytes) * 2 ** 20) / (2 ** 20 + engine.overheadBytesPerMib)),
    });
  });

  test("dedicated CPUs are in the document and in what the host has given away", async () => {
    const resources = { cpuMillis: 2000, memoryBytes: 64 * 1024 ** 2, cpuPolicy: "dedicated" } as const;
    const { host, assignment } = await fleet.placedInstance("web", { resources });
    expect(assignment.cpuIds).toEqual([2, 3]);
    const [seen] = await fleet.control.readHosts([host.hostId]);
    expect(seen?.held).toEqual({ cpuMillis: 2000, memoryBytes: 64 * 1024 ** 2, instances: 1, cpuIds: [2, 3] });
  });
});

describe("what changed since the plan was made is not written", () => {
  test("a host of another version: its placements wait, the others are written", async () => {
    const [a, b] = [await fleet.addHost(), await fleet.addHost()];
    const dense = { resources: { cpuMillis: 3000, memoryBytes: 64 * 1024 ** 2 } };
    await fleet.addWorkload("one", dense);
    await fleet.addWorkload("two", dense);
    const commit = await planned();
    await fleet.query(`UPDATE host SET cordoned = true, version = version + 1 WHERE id = $1`, [a.hostId]);
    const committed = await fleet.control.commitPlan(commit);
    expect(committed.placed.size).toBe(1);
    expect(committed.hosts.map((host) => host.id)).toEqual([b.hostId]);
    expect(await fleet.query(`SELECT host_id FROM assignment`)).toEqual([{ host_id: b.hostId }]);
    expect((await fleet.control.readPending(10)).instances).toHaveLength(1);
  });

  test("an instance that was changed, removed or stopped meanwhile", async () => {
    await fleet.addHost();
    for (const name of ["changed", "removed", "stopped", "kept"]) await fleet.addWorkload(name);
    const commit = await planned();
    await fleet.query(`UPDATE instance SET version = version + 1 WHERE name = 'changed-0'`);
    await fleet.query(`DELETE FROM instance WHERE name = 'removed-0'`);
    await fleet.query(`UPDATE instance SET state = 'stopped', desired = 'stopped' WHERE name = 'stopped-0'`);
    expect((await fleet.control.commitPlan(commit)).placed.size).toBe(1);
    expect(await fleet.query(`SELECT name FROM instance WHERE state = 'assigned'`)).toEqual([{ name: "kept-0" }]);
  });
});

describe("exactly one assignment", () => {
  test("the same plan from a hundred commits at once is written once", async () => {
    const host = await fleet.addHost();
    await fleet.addWorkload("web", { replicas: 10 });
    const commit = await planned();
    const all = await Promise.all(Array.from({ length: 100 }, () => fleet.control.commitPlan(commit)));
    expect(all.reduce((total, { placed }) => total + placed.size, 0)).toBe(10);
    const assignments = await fleet.assignments(host);
    expect(new Set(assignments.map((assignment) => assignment.instanceId)).size).toBe(10);
    expect(await fleet.query(`SELECT count(*)::int AS n FROM assignment`)).toEqual([{ n: 10 }]);
  });

  test("a hundred schedulers that each read and plan for themselves never over-commit a host", async () => {
    for (let at = 0; at < 4; at += 1) await fleet.addHost();
    await fleet.addWorkload("web", { replicas: 100, resources: { cpuMillis: 400, memoryBytes: 64 * 1024 ** 2 } });
    await Promise.all(
      Array.from({ length: 100 }, async () => {
        while ((await planned()).plan.placements.length > 0) await fleet.place();
      }),
    );
    const held = await fleet.query<{ cpu: number }>(
      `SELECT sum(cpu_millis)::int AS cpu FROM assignment GROUP BY host_id ORDER BY host_id`,
    );
    expect(held.map((row) => row.cpu)).toEqual([4000, 4000, 4000, 4000]);
    expect(await fleet.query(`SELECT 1 FROM assignment GROUP BY instance_id HAVING count(*) > 1`)).toEqual([]);
    expect((await fleet.control.readPending(1000)).instances).toHaveLength(60);
  });

  test("the database itself refuses a second one", async () => {
    const { assignment } = await fleet.placedInstance("web");
    await expect(
      fleet.query(
        `INSERT INTO assignment (instance_id, era, n, host_id, isolation, document, doc_version, cpu_millis, memory_bytes)
         SELECT instance_id, era, n + 1, host_id, isolation, document, doc_version, cpu_millis, memory_bytes
         FROM assignment WHERE instance_id = $1`,
        [assignment.instanceId],
      ),
    ).rejects.toMatchObject({ constraint: "assignment_live_key" });
  });
});

describe("instances that fit nowhere", () => {
  test("reasons are written and told once, and again only when they change", async () => {
    const host = await fleet.addHost({ facts: facts({ cpuMillis: 50 }) });
    await fleet.addWorkload("web");
    const refuse = async () => {
      const { plan: made } = await planned();
      return fleet.control.recordRejections(fleet.term, made.unplaced);
    };
    expect(await refuse()).toBe(1);
    expect(await refuse()).toBe(0);
    expect(await fleet.query(`SELECT state, reason, rejections FROM instance`)).toMatchObject([
      {
        state: "pending",
        reason: "NoCapacity",
        rejections: [{ hostId: host.hostId, reason: "needs 100 CPU millis, 50 are free" }],
      },
    ]);
    await fleet.query(`UPDATE host SET cordoned = true`);
    expect(await refuse()).toBe(1);
    await fleet.control.publishEvents(fleet.term);
    expect(await fleet.query(`SELECT 1 FROM event WHERE type = 'instance.unplaceable'`)).toHaveLength(2);
  });

  test("an empty fleet is a reason too, told once", async () => {
    await fleet.addWorkload("web");
    const { plan: made } = await planned();
    expect(await fleet.control.recordRejections(fleet.term, made.unplaced)).toBe(1);
    expect(await fleet.control.recordRejections(fleet.term, made.unplaced)).toBe(0);
    expect(await fleet.query(`SELECT reason, detail FROM instance`)).toEqual([
      { reason: "NoCapacity", detail: "the fleet has no host" },
    ]);
  });
});
