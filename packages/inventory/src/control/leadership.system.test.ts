import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { Client } from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { migrate, NotLeading } from "../index.ts";
import { TestFleet } from "../testing/fixture.ts";

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

const expire = () => fleet.query(`UPDATE lease SET expires_at = clock_timestamp() - interval '1 ms'`);

describe("one leader at a time", () => {
  test("a held lease is refused, one that ran out is taken with a higher term", async () => {
    expect(await fleet.control.acquireLeadership({ holder: "b", ttlMs: 1000 })).toBeNull();
    await expire();
    const term = await fleet.control.acquireLeadership({ holder: "b", ttlMs: 1000 });
    expect(term).toBeGreaterThan(fleet.term);
  });

  test("of twenty who find it run out, exactly one wins", async () => {
    await expire();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, at) => fleet.control.acquireLeadership({ holder: `c${at}`, ttlMs: 60_000 })),
    );
    expect(answers.filter((term) => term !== null)).toHaveLength(1);
  });

  test("a dead holder's lease need not run out, another's must", async () => {
    expect(await fleet.control.acquireLeadership({ holder: "b", ttlMs: 1000, deadHolder: "other" })).toBeNull();
    expect(await fleet.control.acquireLeadership({ holder: "b", ttlMs: 1000, deadHolder: "test" })).not.toBeNull();
  });

  test("renewal works for the present term only, and not after the time", async () => {
    const lease = { term: fleet.term, holder: "test", ttlMs: 60_000 };
    expect(await fleet.control.renewLeadership(lease)).toBe(true);
    expect(await fleet.control.renewLeadership({ ...lease, term: lease.term - 1 })).toBe(false);
    expect(await fleet.control.renewLeadership({ ...lease, holder: "b" })).toBe(false);
    await expire();
    expect(await fleet.control.renewLeadership(lease)).toBe(false);
  });

  test("release lets a successor in at once", async () => {
    await fleet.control.releaseLeadership({ term: fleet.term, holder: "test" });
    expect(await fleet.control.acquireLeadership({ holder: "b", ttlMs: 1000 })).not.toBeNull();
  });

  test("the term does not go back when the lease row is lost or comes from an old backup", async () => {
    await fleet.query(`UPDATE lease SET term = 3`);
    expect(await fleet.lead("b")).toBeGreaterThanOrEqual(fleet.term);
    await fleet.query(`DELETE FROM lease`);
    expect(await fleet.lead("c")).toBeGreaterThanOrEqual(fleet.term);
  });
});

describe("a term that is over writes nothing", () => {
  test.each([
    ["a plan", () => fleet.place(fleet.term)],
    ["rejections", () => fleet.control.recordRejections(fleet.term, [])],
    ["reports", () => fleet.fold()],
    ["events", () => fleet.control.publishEvents(fleet.term)],
    ["operations", () => fleet.control.settleOperations(fleet.term)],
    ["agents", () => fleet.control.recordAgents(fleet.term, [])],
    ["retention", () => fleet.control.removeOld(fleet.term)],
    [
      "an era",
      () => fleet.control.startEra({ term: fleet.term, seenEra: 9, hostId: crypto.randomUUID(), reason: "x" }),
    ],
  ])("%s", async (_name, act) => {
    await fleet.addHost();
    await fleet.addWorkload("web", { replicas: 3 });
    await fleet.lead("b");
    const before = await counts();
    await expect(act()).rejects.toBeInstanceOf(NotLeading);
    expect(await counts()).toEqual(before);
  });

  const counts = () =>
    fleet.query(`SELECT (SELECT count(*) FROM assignment) AS assignments, (SELECT count(*) FROM event) AS events,
      (SELECT count(*) FROM event_inbox) AS inbox, (SELECT count(*) FROM outbox) AS outbox,
      (SELECT era FROM cluster) AS era, (SELECT sum(version) FROM host) AS versions,
      (SELECT count(*) FROM instance WHERE state = 'pending') AS pending`);

  test("a lease that ran out is a term that is over, also before anybody takes it", async () => {
    await fleet.addHost();
    await fleet.addWorkload("web");
    await expire();
    await expect(fleet.place()).rejects.toBeInstanceOf(NotLeading);
  });
});

test("race: a takeover waits for the commit in flight, and the next commit of the old term writes nothing", async () => {
  await fleet.addHost();
  await fleet.addWorkload("first");
  // The old leader's transaction stops between its check and its commit.
  const old = new Client({ connectionString: fleet.databaseUrl });
  await old.connect();
  try {
    await old.query("BEGIN");
    await old.query(`SELECT 1 FROM lease WHERE term = $1 FOR SHARE`, [fleet.term]);
    let taken = false;
    const takeover = fleet.lead("b").then((term) => {
      taken = true;
      return term;
    });
    // The takeover is queued behind the share lock.
    await expect
      .poll(() => fleet.query(`SELECT 1 AS waits FROM pg_locks WHERE NOT granted`), { timeout: 5000 })
      .toHaveLength(1);
    expect(taken).toBe(false);
    const late = fleet.place(fleet.term).then(
      () => "written",
      (error: unknown) => error,
    );
    await old.query("COMMIT");
    const term = await takeover;
    expect(term).toBeGreaterThan(fleet.term);
    // It came after the takeover in the lock's queue, or before and was part of what the takeover waited for.
    const outcome = await late;
    const assigned = await fleet.query(`SELECT 1 FROM assignment`);
    expect(outcome instanceof NotLeading ? assigned.length === 0 : assigned.length === 1).toBe(true);
    await fleet.addWorkload("second");
    const before = await fleet.query(`SELECT count(*) FROM assignment`);
    await expect(fleet.place(fleet.term)).rejects.toBeInstanceOf(NotLeading);
    expect(await fleet.query(`SELECT count(*) FROM assignment`)).toEqual(before);
  } finally {
    await old.end();
  }
});

test("race: fifty commits of the old term against a takeover leave no assignment made after it", async () => {
  await fleet.addHost();
  for (let at = 0; at < 10; at += 1) await fleet.addWorkload(`w${at}`, { replicas: 5 });
  const oldTerm = fleet.term;
  const commits = Array.from({ length: 50 }, () =>
    fleet.place(oldTerm).then(
      () => "ok",
      (error: unknown) => (error instanceof NotLeading ? "fenced" : error),
    ),
  );
  await fleet.lead("b");
  const atTakeover = await fleet.query<{ id: string }>(`SELECT instance_id AS id FROM assignment ORDER BY 1`);
  const outcomes = await Promise.all(commits);
  expect(outcomes.every((outcome) => outcome === "ok" || outcome === "fenced")).toBe(true);
  expect(await fleet.query(`SELECT instance_id AS id FROM assignment ORDER BY 1`)).toEqual(atTakeover);
});
