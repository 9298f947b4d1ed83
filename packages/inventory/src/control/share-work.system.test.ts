import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { migrate } from "../index.ts";
import { facts, TestFleet, type TestHost } from "../testing/fixture.ts";

let postgres: TestPostgres;
let fleet: TestFleet;
let busy: TestHost;
let other: TestHost;
beforeAll(async () => {
  postgres = await startPostgres({ migrate });
  fleet = await TestFleet.make(postgres);
});
beforeEach(async () => {
  await fleet.reset();
  busy = await fleet.addHost({ labels: { name: "busy" }, facts: facts({ cpuMillis: 100_000, memoryBytes: 2 ** 40 }) });
  other = await fleet.addHost({ labels: { name: "other" } });
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const both = () => new Set([busy.hostId, other.hostId]);

test("many shares that one host does not remove hold up no other host's", async () => {
  for (const [{ hostId }, count] of [
    [busy, 250],
    [other, 1],
  ] as const) {
    await fleet.query(
      `INSERT INTO share (id, project, name, spec, host_id, deleting)
       SELECT gen_random_uuid(), 'default', $1::text || n, '{}', $1::uuid, true FROM generate_series(1, $2::int) n`,
      [hostId, count],
    );
  }
  const { doomed } = await fleet.control.shareWork();
  expect(new Set(doomed.map(({ hostId }) => hostId))).toEqual(both());
});

test("many instances whose shares one host does not confirm hold up no other host's", async () => {
  await fleet.addWorkload("busy", { replicas: 250, constraints: { hostLabels: { name: "busy" } } });
  await fleet.addWorkload("other", { constraints: { hostLabels: { name: "other" } } });
  await fleet.place();
  await fleet.query(
    `INSERT INTO share (id, project, name, spec) SELECT gen_random_uuid(), 'default', n::text, '{}' FROM generate_series(1, 2) n`,
  );
  // Two of each instance, which is still one question.
  await fleet.query(
    `INSERT INTO share_use (instance_id, share_id, read_only, state)
     SELECT i.id, s.id, true, 'attaching' FROM instance i, share s`,
  );
  const { uses } = await fleet.control.shareWork();
  expect(new Set(uses.map(({ hostId }) => hostId))).toEqual(both());
  expect(new Set(uses.map(({ instanceId }) => instanceId)).size).toBe(uses.length);
});
