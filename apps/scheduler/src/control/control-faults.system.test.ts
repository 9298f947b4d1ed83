import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
});
beforeEach(() => rig.reset());
afterAll(() => rig[Symbol.asyncDispose]());

const deadline = { timeout: 30_000, interval: 10 };
const until = <T>(assertion: () => T | Promise<T>): Promise<T> => vi.waitFor(assertion, deadline);
const running = async (...names: string[]) => {
  const rows = await rig.fleet.query<{ name: string }>(
    `SELECT name FROM instance WHERE state = 'running' ORDER BY name`,
  );
  expect(rows.map((row) => row.name)).toEqual(names);
};
const quick = { suspectAfterMs: 600, unknownAfterMs: 1_200, watchMs: 100, driftMs: 200, takeoverGraceMs: 1_000 };

describe("leaders", () => {
  test("the second takes over when the first stops, and goes on with the work", async () => {
    const first = await rig.control();
    const agent = await rig.joined();
    await until(() => expect(first.leads).toBe(true));
    const second = await rig.control();
    await rig.fleet.addWorkload("a");
    first.wake();
    await until(() => running("a-0"));
    await first.stop();
    await rig.fleet.addWorkload("b");
    await until(() => expect(second.leads).toBe(true));
    await until(() => running("a-0", "b-0"));
    expect(agent.starts).toHaveLength(2);
  });

  test("one that was displaced notices with its next write and stops acting", async () => {
    const loop = await rig.control({}, "mine");
    await rig.joined();
    await until(() => expect(loop.leads).toBe(true));
    await rig.fleet.lead("other");
    await rig.fleet.addWorkload("a");
    loop.wake();
    await until(() => expect(loop.leads).toBe(false));
    expect(await rig.fleet.query(`SELECT 1 FROM assignment`)).toEqual([]);
    await rig.fleet.query(`UPDATE lease SET expires_at = clock_timestamp()`);
    await until(() => running("a-0"));
  });

  test("a lease is granted by the leader alone, with its term, and answers the very heartbeat", async () => {
    const loop = await rig.control();
    const agent = await rig.joined();
    await until(() => expect(agent.grants.length).toBeGreaterThan(1));
    const [lease] = await rig.fleet.query<{ term: string }>(`SELECT term FROM lease`);
    expect(agent.grants[0]).toMatchObject({ term: Number(lease?.term), granted: true });
    await loop.stop();
    const before = agent.grants.length;
    agent.heartbeat();
    await agent.bus.ping();
    expect(agent.grants.length).toBe(before);
  });
});

describe("outages", () => {
  test("Postgres is killed with starts in flight: control waits, heals, and starts nothing twice", async () => {
    const loop = await rig.control({ leaseTtlMs: 3_000 });
    const agent = await rig.joined();
    await rig.fleet.addWorkload("a");
    loop.wake();
    await until(() => running("a-0"));
    await rig.fleet.addWorkload("b", { replicas: 5 });
    loop.wake();
    await rig.postgres.kill();
    await until(() =>
      expect(rig.log.lines.some((line) => line.message === "control work failed, trying again")).toBe(true),
    );
    await rig.postgres.restart();
    await until(() => running("a-0", "b-0", "b-1", "b-2", "b-3", "b-4"));
    expect(new Set(agent.starts).size).toBe(agent.starts.length);
    expect(agent.starts).toHaveLength(6);
    await until(() => expect(agent.pendingReports).toBe(0));
  });

  test("NATS is killed and loses its disk: what was reported meanwhile arrives all the same", async () => {
    const loop = await rig.control();
    const agent = await rig.joined();
    await rig.fleet.addWorkload("a");
    loop.wake();
    await until(() => running("a-0"));
    await rig.nats.kill();
    await rig.fleet.addWorkload("b");
    loop.wake();
    const [assignment] = agent.assignments.values();
    if (assignment === undefined) throw new Error("no assignment");
    agent.report(assignment, { state: "stopped", reason: "Exited" });
    await rig.nats.restart({ wipe: true });
    await until(() => running("b-0"));
    await until(async () =>
      expect(await rig.fleet.query(`SELECT state, reason FROM instance WHERE name = 'a-0'`)).toEqual([
        { state: "stopped", reason: "Exited" },
      ]),
    );
    expect(agent.starts).toHaveLength(2);
  });

  test("messages that are lost cost time only: reports kept back, hints missed", async () => {
    const loop = await rig.control();
    const agent = await rig.joined();
    agent.reporting = false;
    await rig.fleet.addWorkload("a");
    loop.wake();
    await until(() => expect(agent.starts).toHaveLength(1));
    await running();
    agent.reporting = true;
    await until(() => running("a-0"));
    // A document whose hint never came is found by its digest.
    await rig.fleet.query(`UPDATE host_agent SET doc_version = doc_version + 1`);
    await rig.fleet.query(
      `UPDATE assignment SET document = document || '{"restartRequest": 1}', doc_version = (SELECT doc_version FROM host_agent)`,
    );
    await until(() => expect([...agent.assignments.values()][0]?.restartRequest).toBe(1));
  });
});

describe("lost hosts", () => {
  test("a silent agent is suspect, then unknown, then well again; what may not be replaced stays", async () => {
    const loop = await rig.control(quick);
    const agent = await rig.joined();
    await rig.fleet.addWorkload("a");
    loop.wake();
    await until(() => running("a-0"));
    agent.silence();
    const state = async () => (await rig.fleet.query<{ state: string }>(`SELECT state FROM host_agent`))[0]?.state;
    await until(async () => expect(await state()).toBe("suspect"));
    await until(async () => expect(await state()).toBe("unknown"));
    await running("a-0");
    agent.beat(100);
    await until(async () => expect(await state()).toBe("ready"));
    await until(async () =>
      expect(
        await rig.fleet.query(`SELECT data ->> 'state' AS state FROM event WHERE type = 'host.state' ORDER BY id`),
      ).toEqual([{ state: "suspect" }, { state: "unknown" }, { state: "ready" }]),
    );
  });

  test("an instance that may be replaced starts elsewhere, not before its lease ran out", async () => {
    const loop = await rig.control(quick);
    const lost = await rig.joined();
    await rig.fleet.addWorkload("a", { onLoss: "replace", leaseMs: 5_000 });
    loop.wake();
    await until(() => running("a-0"));
    const other = await rig.joined();
    await until(() => expect(lost.grants.some((grant) => grant.granted)).toBe(true));
    lost.silence();
    const silentAt = performance.now();
    await until(() => expect(other.starts).toHaveLength(1));
    expect(performance.now() - silentAt).toBeGreaterThan(5_000);
    expect(other.starts[0]).toMatch(/ 1\.2$/);
    // The lost host comes back: its old run is ended by a tombstone, the new one stays.
    lost.beat(100);
    await until(() => expect(lost.running.size).toBe(0));
    await until(() => running("a-0"));
    expect(other.running.size).toBe(1);
  });
});

describe("a restored database", () => {
  /** The state to which the database is put back: everything as it was when this was called. */
  const backup = async () => {
    const tables = [
      "workload",
      "instance",
      "assignment",
      "host_agent",
      "operation",
      "image_pull",
      "lease",
      "share_use",
    ];
    const rows = new Map<string, unknown[]>();
    for (const table of tables) {
      rows.set(
        table,
        (await rig.fleet.query<{ row: unknown }>(`SELECT to_jsonb(t) AS row FROM ${table} t`)).map(
          (found) => found.row,
        ),
      );
    }
    return async () => {
      await rig.fleet.query(`TRUNCATE ${tables.join(", ")}, outbox, event_inbox`);
      for (const [table, found] of rows) {
        await rig.fleet.query(
          `INSERT INTO ${table} SELECT r.* FROM unnest($1::jsonb[]) AS j(row), jsonb_populate_record(NULL::${table}, j.row) r`,
          [found.map((row) => JSON.stringify(row))],
        );
      }
    };
  };

  test("a new era begins, nothing is stopped, what the database still knows is adopted, the rest is shown", async () => {
    const loop = await rig.control({ leaseTtlMs: 1_500 });
    const agent = await rig.joined();
    await rig.fleet.addWorkload("kept");
    loop.wake();
    await until(() => running("kept-0"));
    // "waiting" is in the backup, not yet placed; "forgotten" comes after it.
    await rig.fleet.query(`UPDATE host SET cordoned = true, version = version + 1`);
    await rig.fleet.addWorkload("waiting");
    const restore = await backup();
    await rig.fleet.query(`UPDATE host SET cordoned = false, version = version + 1`);
    loop.wake();
    await until(() => running("kept-0", "waiting-0"));
    await rig.fleet.addWorkload("forgotten");
    loop.wake();
    await until(() => expect(agent.starts).toHaveLength(3));
    await until(() => expect(agent.pendingReports).toBe(0));
    await loop.stop();
    await restore();

    const again = await rig.control();
    await until(() => expect(agent.position?.era).toBe(2));
    await until(() => running("kept-0", "waiting-0"));
    await until(async () =>
      expect(await rig.fleet.query(`SELECT unknown_instances -> 0 ->> 'name' AS name FROM host_agent`)).toEqual([
        { name: "forgotten-0" },
      ]),
    );
    expect(agent.running.size).toBe(3);
    expect(agent.starts).toHaveLength(3);
    // The adopted one obeys again.
    await rig.fleet.inventory.api.write((tx) =>
      tx.deleteWorkload(rig.fleet.change, { workload: { project: "default", idOrName: "waiting" } }),
    );
    again.wake();
    await until(() => expect(agent.running.size).toBe(2));
    await until(async () => expect(await rig.fleet.query(`SELECT name FROM instance`)).toEqual([{ name: "kept-0" }]));
  });

  test("an empty one: agents of the old cluster get no document, and nothing is stopped", async () => {
    const loop = await rig.control();
    const agent = await rig.joined();
    await rig.fleet.addWorkload("a");
    loop.wake();
    await until(() => running("a-0"));
    await loop.stop();
    const { host } = agent;
    await rig.fleet.reset();
    await rig.fleet.control.releaseLeadership({ term: rig.fleet.term, holder: "test" });
    await rig.fleet.addHost(host);
    await rig.control();
    await until(async () =>
      expect(await rig.fleet.query(`SELECT foreign_cluster_id AS id FROM host_agent`)).toEqual([
        { id: agent.position?.clusterId },
      ]),
    );
    expect(agent.running.size).toBe(1);
    await rig.fleet.addWorkload("b");
    await until(async () =>
      expect(await rig.fleet.query(`SELECT rejections -> 0 ->> 'reason' AS reason FROM instance`)).toEqual([
        { reason: "obeys another control plane" },
      ]),
    );
  });
});
