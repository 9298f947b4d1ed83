import type { LeaseGrant } from "@bulkhead/contracts";
import { migrate } from "@bulkhead/inventory";
import { facts, TestFleet, type TestHost } from "@bulkhead/inventory/testing";
import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, beforeEach, expect, test, vi } from "vitest";
import { Documents } from "./documents.ts";
import { Duties } from "./duties.ts";
import { Era } from "./era.ts";
import { Heartbeats } from "./heartbeats.ts";
import { HostWatch } from "./host-watch.ts";
import { defaultTimes, type ControlPorts, type Term } from "./ports.ts";
import { memoryLog } from "./testing/memory-log.ts";

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

/** Another transaction that holds one row. */
const holding = async (query: string, host: TestHost) => {
  const client = await fleet.inventory.database.pool.connect();
  await client.query("BEGIN");
  await client.query(query, [host.hostId]);
  return async () => {
    await client.query("COMMIT");
    client.release();
  };
};
/** Until so many transactions wait for a row. */
const waiting = (count: number) =>
  vi.waitFor(
    async () => expect(await fleet.query(`SELECT DISTINCT pid FROM pg_locks WHERE NOT granted`)).toHaveLength(count),
    { timeout: 10_000, interval: 5 },
  );

/** A leader that has given up the host of one instance, at a moment when the instance may be replaced. */
const leaderOfLostHost = async () => {
  const { host } = await fleet.placedInstance("web", { onLoss: "replace", leaseMs: 60_000 });
  let nowMs = 0;
  const answers: LeaseGrant[] = [];
  const { clusterId } = await fleet.control.cluster();
  const term: Term = { term: fleet.term, clusterId, valid: () => true, startedAtMs: 0 };
  const ports = {
    store: fleet.control,
    bus: { publish: (_subject: unknown, _to: unknown, answer: LeaseGrant) => void answers.push(answer) },
    log: memoryLog(),
    nowMs: () => nowMs,
  } as unknown as ControlPorts;
  const watch = new HostWatch(defaultTimes, 0, await fleet.control.readAgents());
  const era = new Era({ ports, term, era: fleet.era, onChange: () => undefined });
  const documents = new Documents(ports, era);
  const times = defaultTimes;
  const heartbeats = new Heartbeats({ ports, times, term, era, watch, documents, onChange: () => undefined });
  const duties = new Duties({ ports, times, term, watch, placer: undefined as never });
  // What the agent held before it fell silent, and still holds when it is back.
  const held = await documents.fetch(host, { have: null });
  const beat = async (): Promise<LeaseGrant | undefined> => {
    heartbeats.receive({
      ...host,
      bootId: "boot",
      sentAtBoottimeNs: "1",
      position: held.position,
      digest: held.digest,
      facts: facts(),
      instances: 1,
      unknown: [],
      highestEra: fleet.era,
    });
    await heartbeats.pass();
    return answers.splice(0).at(-1);
  };
  expect(await beat()).toMatchObject({ granted: true, refetch: false });
  nowMs = 31_000;
  await duties.watchHosts();
  nowMs = 62_000;
  return { host, watchHosts: () => duties.watchHosts(), beat };
};

test("a host that returns while its turn has not come keeps its instance", async () => {
  const { host, watchHosts, beat } = await leaderOfLostHost();
  const release = await holding(`SELECT 1 FROM host_agent WHERE host_id = $1 FOR UPDATE`, host);
  const watched = watchHosts();
  await waiting(1);
  const answered = beat();
  await waiting(2);
  await release();
  await watched;
  expect(await answered).toMatchObject({ granted: true, refetch: false });
  expect(await fleet.assignments(host)).toHaveLength(1);
  expect(await fleet.query(`SELECT state FROM instance`)).toEqual([{ state: "assigned" }]);
});

test("a host that returns while its instance is being replaced is not told that it may start it", async () => {
  const { host, watchHosts, beat } = await leaderOfLostHost();
  const release = await holding(`SELECT 1 FROM host WHERE id = $1 FOR UPDATE`, host);
  const watched = watchHosts();
  await waiting(1);
  const answered = beat();
  await waiting(2);
  await release();
  await watched;
  expect(await answered).toMatchObject({ granted: true, refetch: true });
  expect(await fleet.assignments(host)).toEqual([]);
  expect(await fleet.query(`SELECT state, reason FROM instance`)).toEqual([{ state: "pending", reason: "Replaced" }]);
});

test("an instance whose host stays away is replaced when its lease and the drift are over", async () => {
  const { host, watchHosts } = await leaderOfLostHost();
  await watchHosts();
  expect(await fleet.assignments(host)).toEqual([]);
  expect(await fleet.query(`SELECT state FROM instance`)).toEqual([{ state: "pending" }]);
});
