import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { migrate } from "../index.ts";
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

const mib = 1024 * 1024;

test("a batch is bounded by its number and says whether more wait", async () => {
  await fleet.addWorkload("a", { replicas: 5 });
  expect(await fleet.control.readPending(5)).toMatchObject({ more: false, instances: { length: 5 } });
  const { instances, more } = await fleet.control.readPending(4);
  expect([instances.length, more]).toEqual([4, true]);
  const rest = await fleet.control.readPending(
    4,
    instances.map(({ id }) => id),
  );
  expect(rest).toMatchObject({ more: false, instances: { length: 1 } });
});

test("a batch is bounded by bytes, and the batches after it hold the others", async () => {
  await fleet.addWorkload("a", { replicas: 20, env: { A: "x".repeat(mib) } });
  const seen: string[] = [];
  for (let more = true; more;) {
    const batch = await fleet.control.readPending(1000, seen);
    expect(Buffer.byteLength(JSON.stringify(batch.instances))).toBeLessThan(9.5 * mib);
    seen.push(...batch.instances.map(({ id }) => id));
    ({ more } = batch);
  }
  expect(new Set(seen).size).toBe(20);
});

test("an instance that is larger than a batch is one of its own", async () => {
  await fleet.addWorkload("a", { replicas: 2, env: { A: "x".repeat(9 * mib) } });
  expect(await fleet.control.readPending(1000)).toMatchObject({ more: true, instances: { length: 1 } });
});
