import type { Assignment, InstanceMachine } from "@bulkhead/contracts";
import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { migrate } from "../index.ts";
import { batch, report, TestFleet, type TestHost } from "../testing/fixture.ts";

let postgres: TestPostgres;
let fleet: TestFleet;
let host: TestHost;
let assignment: Assignment;
beforeAll(async () => {
  postgres = await startPostgres({ migrate });
  fleet = await TestFleet.make(postgres);
});
beforeEach(async () => {
  await fleet.reset();
  ({ host, assignment } = await fleet.placedInstance("web"));
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const instance = async () => (await fleet.query<Record<string, unknown>>(`SELECT * FROM instance`))[0];
const position = () => fleet.query(`SELECT journal, folded_seq::int FROM host_agent WHERE host_id = $1`, [host.hostId]);
const events = async (type: string) =>
  fleet.query<{ id: string; data: Record<string, unknown> }>(`SELECT id, data FROM event WHERE type = $1 ORDER BY id`, [
    type,
  ]);
const bury = () =>
  fleet.inventory.api.write((tx) =>
    tx.deleteWorkload(fleet.change, { workload: { project: "default", idOrName: "web" } }),
  );

describe("reports become rows and events", () => {
  test("a run from start to exit", async () => {
    const exit = {
      exitCode: 7,
      signal: null,
      oomKilled: false,
      startedAt: "2026-01-01T00:00:00Z",
      finishedAt: "2026-01-01T00:00:01Z",
    };
    const result = await fleet.fold(
      batch(host, [
        report(assignment, 1, { state: "starting", attempt: 0 }),
        report(assignment, 2, { at: "2026-01-01T00:00:00.000Z" }),
        report(assignment, 3, { state: "failed", reason: "Exited", exit }),
      ]),
    );
    expect(result).toMatchObject({ folded: 3, illegal: 0, freed: false });
    expect(result.acknowledgements).toEqual([{ ...host, journal: "j1", upToSeq: 3 }]);
    expect(await instance()).toMatchObject({
      state: "failed",
      attempt: 1,
      reason: "Exited",
      exit,
      started_at: new Date("2026-01-01T00:00:00.000Z"),
      seen_generation: 1,
    });
    expect((await events("instance.state")).map((event) => event.data["state"])).toEqual([
      "starting",
      "running",
      "failed",
    ]);
  });

  test("what runs a machine is on its instance until that gets another host", async () => {
    const machine: InstanceMachine = {
      engine: "qemu",
      kernel: "6.1.0",
      cpus: 2,
      cpuIds: [2, 3],
      pinned: false,
      memoryPolicy: "normal",
      hugepages: false,
    };
    const read = () => fleet.inventory.api.read.instance({ project: "default", idOrName: assignment.instanceId });
    expect(await read()).not.toHaveProperty("machine");
    await fleet.fold(batch(host, [report(assignment, 1, { machine })]));
    expect((await read()).machine).toEqual(machine);
    await fleet.query(`UPDATE assignment SET tombstone = true`);
    await fleet.query(`UPDATE instance SET state = 'pending', host_id = NULL`);
    await fleet.place();
    expect(await read()).not.toHaveProperty("machine");
  });

  test("repeated, late and reordered batches change nothing more", async () => {
    const first = batch(host, [report(assignment, 1, { state: "starting" }), report(assignment, 2)]);
    const later = [report(assignment, 3, { state: "stopping" }), report(assignment, 4, { state: "stopped" })];
    const second = batch(host, [...first.reports, ...later]);
    await fleet.fold(second, first);
    const after = await instance();
    expect(after).toMatchObject({ state: "stopped" });
    for (const again of [[first], [second], [first, second, first]]) {
      expect((await fleet.fold(...again)).folded).toBe(0);
    }
    expect(await instance()).toEqual(after);
    expect(await events("instance.state")).toHaveLength(4);
  });

  test("after a restore the journal goes on where it is, not where the database thinks", async () => {
    await fleet.fold(batch(host, [report(assignment, 70)]));
    expect(await position()).toEqual([{ journal: "j1", folded_seq: 70 }]);
  });

  test("of a later epoch nothing is undone by an earlier one's reports", async () => {
    await fleet.query(`UPDATE instance SET epoch_n = 2, state = 'starting'`);
    expect(await fleet.fold(batch(host, [report(assignment, 1, { state: "failed" })]))).toMatchObject({ folded: 1 });
    expect(await instance()).toMatchObject({ state: "starting" });
  });

  test("an agent cannot speak for the instance of another host or kind", async () => {
    const other = await fleet.addHost();
    const machines = await fleet.addHost({ hostId: host.hostId, name: "same", isolation: "vm" });
    for (const agent of [other, machines]) {
      await fleet.fold(batch(agent, [report(assignment, 1, { state: "failed" })]));
      expect(await instance()).toMatchObject({ state: "assigned" });
    }
  });

  test("an illegal move is counted and acknowledged, not written", async () => {
    await fleet.query(`UPDATE instance SET state = 'running'`);
    const result = await fleet.fold(batch(host, [report(assignment, 1, { state: "assigned" })]));
    expect(result).toMatchObject({ illegal: 1, acknowledgements: [{ upToSeq: 1 }] });
    expect(await instance()).toMatchObject({ state: "running" });
  });

  test("reports of a host that never joined are not acknowledged", async () => {
    const stranger = { hostId: crypto.randomUUID(), isolation: "container" } as TestHost;
    expect(await fleet.fold(batch(stranger, [report(assignment, 1)]))).toMatchObject({
      acknowledgements: [],
      folded: 0,
    });
  });

  test("twenty folders of one batch at once: folded once, every event once", async () => {
    const all = batch(host, [report(assignment, 1, { state: "starting" }), report(assignment, 2)]);
    const results = await Promise.all(Array.from({ length: 20 }, () => fleet.fold(all)));
    expect(results.reduce((sum, result) => sum + result.folded, 0)).toBe(2);
    expect(await events("instance.state")).toHaveLength(2);
  });
});

describe("gone", () => {
  test("ends the assignment, frees the host, removes instance and workload, each told once", async () => {
    await fleet.fold(batch(host, [report(assignment, 1)]));
    await bury();
    const gone = batch(host, [report(assignment, 2, { state: "gone" })]);
    const result = await fleet.fold(gone);
    expect(result.freed).toBe(true);
    expect(await instance()).toBeUndefined();
    expect(await fleet.query(`SELECT 1 FROM workload`)).toEqual([]);
    const [seen] = await fleet.control.readHosts([host.hostId]);
    expect(seen?.held.instances).toBe(0);
    await fleet.fold(gone);
    expect([...(await events("instance.removed")), ...(await events("workload.deleted"))]).toHaveLength(2);
    await fleet.control.settleOperations(fleet.term);
    expect(await fleet.query(`SELECT state FROM operation WHERE kind = 'workload.delete'`)).toEqual([
      { state: "succeeded" },
    ]);
  });

  test.each(["another host", "the host's other agent"])("%s cannot end it", async (who) => {
    const other = await fleet.addHost(
      who === "another host" ? {} : { hostId: host.hostId, name: "same", isolation: "vm" },
    );
    await fleet.fold(batch(host, [report(assignment, 1)]));
    await bury();
    const gone = report(assignment, 1, { state: "gone" });
    expect(await fleet.fold(batch(other, [gone]))).toMatchObject({
      freed: false,
      touched: [],
      acknowledgements: [{ ...other, upToSeq: 1 }],
    });
    expect(await fleet.query(`SELECT gone_at FROM assignment`)).toEqual([{ gone_at: null }]);
    expect(await instance()).toMatchObject({ state: "running", removing: true });
    expect(await fleet.fold(batch(host, [{ ...gone, seq: 2 }]))).toMatchObject({ freed: true });
    expect(await instance()).toBeUndefined();
  });

  test("without a tombstone nothing is removed: the order did not come from us", async () => {
    await fleet.fold(batch(host, [report(assignment, 1, { state: "gone" })]));
    expect(await fleet.query(`SELECT gone_at FROM assignment`)).toEqual([{ gone_at: null }]);
    expect(await instance()).toMatchObject({ state: "assigned" });
  });

  test("of an older epoch: the newer one's instance stays", async () => {
    await fleet.query(`UPDATE assignment SET tombstone = true`);
    await fleet.query(`UPDATE assignment SET tombstone = true`);
    await fleet.query(`UPDATE instance SET state = 'pending', host_id = NULL`);
    await fleet.place();
    await bury();
    await fleet.fold(batch(host, [report(assignment, 1, { state: "gone" })]));
    expect(await instance()).toMatchObject({ removing: true, epoch_n: 2 });
  });
});

describe("events", () => {
  test("numbers rise without holes in what a watcher sees, while many write and publish", async () => {
    const seen: number[] = [];
    const done = new AbortController();
    const watcher = (async () => {
      let last = 0;
      while (
        !done.signal.aborted ||
        (await fleet.query(`SELECT 1 FROM event WHERE id > $1 LIMIT 1`, [last])).length > 0
      ) {
        const rows = await fleet.query<{ id: string }>(`SELECT id FROM event WHERE id > $1 ORDER BY id`, [last]);
        for (const row of rows) seen.push(Number(row.id));
        last = seen.at(-1) ?? 0;
      }
    })();
    await Promise.all(
      Array.from({ length: 40 }, async (_, at) => {
        await fleet.query(`INSERT INTO event_inbox (type, data) VALUES ('cluster.era', $1)`, [JSON.stringify({ at })]);
        await fleet.control.publishEvents(fleet.term);
      }),
    );
    await fleet.control.publishEvents(fleet.term);
    done.abort();
    await watcher;
    const all = await fleet.query<{ id: string }>(`SELECT id FROM event ORDER BY id`);
    expect(seen).toEqual(all.map((row) => Number(row.id)));
    expect(await events("cluster.era")).toHaveLength(40);
  });
});
