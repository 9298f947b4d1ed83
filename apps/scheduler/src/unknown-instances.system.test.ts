import { randomBytes } from "node:crypto";
import { type Instance, type Operation, uuidV7 } from "@bulkhead/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { FakeAgent } from "./testing/fake-agent.ts";
import { TestFleet, workload } from "./testing/test-fleet.ts";

let fleet: TestFleet;
let agent: FakeAgent;
beforeAll(async () => {
  fleet = await TestFleet.start();
  agent = await fleet.addHost("alpha");
  await fleet.addImage("app");
});
afterAll(() => fleet[Symbol.asyncDispose]());

/** A running instance that the database has forgotten and its host has reported. */
const forgotten = async (name: string): Promise<Instance> => {
  const { body } = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload(name) });
  await fleet.call("GET", `/v1/operations/${body.id}/wait?timeoutMs=20000`);
  const instance = (await fleet.call<Instance>("GET", `/v1/instances/${name}-0`)).body;
  for (const table of ["assignment WHERE instance_id", "instance WHERE id"]) {
    await fleet.query(`DELETE FROM ${table} = $1`, [instance.id]);
  }
  await fleet.query("DELETE FROM workload WHERE name = $1", [name]);
  await report([{ instanceId: instance.id, name: instance.name, epoch: instance.epoch }]);
  return instance;
};

const report = (runs: readonly object[]) =>
  fleet.query("UPDATE host_agent SET unknown_instances = $1", [JSON.stringify(runs)]);

const end = (instanceId: string, more = "", host = "alpha") =>
  fleet.call("DELETE", `/v1/hosts/${host}/unknown/${instanceId}${more}`);

test("an operator's word ends it: the tombstone is for the epoch that was reported, and audited", async () => {
  const instance = await forgotten("lost");
  expect((await end(instance.id, "?dryRun=true")).status).toBe(204);
  expect(await fleet.query("SELECT FROM assignment WHERE instance_id = $1", [instance.id])).toEqual([]);
  expect(agent.runs.get(instance.id)?.state).toBe("running");
  expect((await end(instance.id, "?graceMs=1500")).status).toBe(204);
  await expect.poll(() => agent.runs.get(instance.id)?.state, { timeout: 10_000 }).toBe("gone");
  await expect
    .poll(
      () =>
        fleet.query(
          `SELECT tombstone, grace_ms AS "graceMs", n, cpu_millis AS "cpuMillis", gone_at IS NOT NULL AS gone
           FROM assignment WHERE instance_id = $1`,
          [instance.id],
        ),
      { timeout: 10_000 },
    )
    .toEqual([{ tombstone: true, graceMs: 1500, n: instance.epoch?.n, cpuMillis: 0, gone: true }]);
  const [audited] = await fleet.query(
    `SELECT token_id IS NOT NULL AS who, target, data ->> 'name' AS name FROM audit WHERE verb = 'host.end-unknown'`,
  );
  expect(audited).toEqual({ who: true, target: instance.id, name: "lost-0" });
});

test("nothing is ended that no host reports, that is known, or that obeys another control plane", async () => {
  const { body } = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("known") });
  await fleet.call("GET", `/v1/operations/${body.id}/wait?timeoutMs=20000`);
  const known = (await fleet.call<Instance>("GET", "/v1/instances/known-0")).body;
  await report([]);
  expect((await end(known.id)).body.code).toBe("NOT_FOUND");
  expect((await end(uuidV7(Date.now(), randomBytes(10)))).body.code).toBe("NOT_FOUND");
  expect((await end(known.id, "", "nowhere")).body.code).toBe("NOT_FOUND");
  await report([{ instanceId: known.id, name: known.name, epoch: known.epoch }]);
  expect((await end(known.id)).body.code).toBe("STATE_CONFLICT");
  const other = uuidV7(Date.now(), randomBytes(10));
  await report([{ instanceId: other, name: "other-0", epoch: { era: 1, n: 1 } }]);
  await fleet.query("UPDATE host_agent SET foreign_cluster_id = $1", [other]);
  const foreign = await end(other);
  await fleet.query("UPDATE host_agent SET foreign_cluster_id = NULL");
  expect([foreign.body.code, foreign.body.detail]).toEqual([
    "STATE_CONFLICT",
    expect.stringContaining("end other-0 there"),
  ]);
  expect(agent.runs.get(known.id)?.state).toBe("running");
});

test("only an administrator may, and only for an id", async () => {
  const { body } = await fleet.call<{ secret: string }>("POST", "/v1/tokens", {
    body: { name: "e", role: "editor", project: "default" },
  });
  const id = uuidV7(Date.now(), randomBytes(10));
  const refused = await fleet.call("DELETE", `/v1/hosts/alpha/unknown/${id}`, { token: body.secret });
  expect(refused.body.code).toBe("FORBIDDEN");
  expect((await end("no-id")).body.code).toBe("REQUEST_INVALID");
  expect((await end(id, "?graceMs=-1")).body.code).toBe("REQUEST_INVALID");
});
