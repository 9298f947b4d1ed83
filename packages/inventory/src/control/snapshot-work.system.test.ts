import { startPostgres, type TestPostgres } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { migrate } from "../index.ts";
import { TestFleet, type TestHost } from "../testing/fixture.ts";

let postgres: TestPostgres;
let fleet: TestFleet;
/** joined first, so that what lies on it sorts first */
let busy: TestHost;
let other: TestHost;
beforeAll(async () => {
  postgres = await startPostgres({ migrate });
  fleet = await TestFleet.make(postgres);
});
beforeEach(async () => {
  await fleet.reset();
  busy = await fleet.addHost({ isolation: "vm" });
  other = await fleet.addHost({ isolation: "vm" });
});
afterAll(async () => {
  await fleet[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
});

const addSnapshots = ({ hostId }: TestHost, count: number, state: "creating" | "ready" | "failed" | "deleting") =>
  fleet.query(
    `INSERT INTO snapshot (id, project, workload_name, instance_id, instance_name, image_digest, spec, host_id, state,
       operation_id)
     SELECT ('00000000-0000-7000-' || CASE WHEN $1 = $4 THEN '8' ELSE '9' END || '000-' || lpad(n::text, 12, '0'))::uuid,
       'default', 'web', gen_random_uuid(), 'web-0', 'sha256:0', '{}', $1::uuid, $3, gen_random_uuid()
     FROM generate_series(1, $2::int) n`,
    [hostId, count, state, busy.hostId],
  );
const hosts = async (work: "wanted" | "doubted" | "doomed") =>
  new Set((await fleet.control.snapshotWork())[work].map(({ hostId }) => hostId));

test.each(["failed", "deleting"] as const)(
  "any number of them %s on a host that is silent hold up no removal elsewhere, and come when it is back",
  async (state) => {
    await addSnapshots(busy, 250, state);
    await addSnapshots(other, 1, state);
    await fleet.query(`UPDATE host_agent SET state = 'unknown' WHERE host_id = $1`, [busy.hostId]);
    expect(await hosts("doomed")).toEqual(new Set([other.hostId]));
    await fleet.query(`UPDATE host_agent SET state = 'ready'`);
    expect(await hosts("doomed")).toEqual(new Set([busy.hostId, other.hostId]));
  },
);

test("many of one host that cannot be taken hold up no other host's", async () => {
  await addSnapshots(busy, 250, "creating");
  await addSnapshots(other, 1, "creating");
  expect(await hosts("wanted")).toEqual(new Set([busy.hostId, other.hostId]));
});

test("many of one host that cannot be read hold up no other host's", async () => {
  await addSnapshots(busy, 250, "ready");
  await addSnapshots(other, 1, "ready");
  await fleet.query(`UPDATE snapshot SET verify_operation_id = gen_random_uuid()`);
  expect(await hosts("doubted")).toEqual(new Set([busy.hostId, other.hostId]));
});
