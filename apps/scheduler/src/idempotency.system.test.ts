import type { Operation } from "@bulkhead/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { FakeAgent } from "./testing/fake-agent.ts";
import { TestFleet, workload } from "./testing/test-fleet.ts";

let fleet: TestFleet;
let agent: FakeAgent;
beforeAll(async () => {
  fleet = await TestFleet.start();
  agent = await fleet.addHost("one");
  await fleet.addImage("app");
});
afterAll(() => fleet[Symbol.asyncDispose]());

const post = (key: string, name: string) =>
  fleet.call<Operation>("POST", "/v1/workloads", { body: workload(name), headers: { "idempotency-key": key } });

test("a repeated POST gets the first answer and changes nothing", async () => {
  const first = await post("k1", "one");
  const second = await post("k1", "one");
  expect([first.status, second.status]).toEqual([202, 202]);
  expect(second.body).toEqual(first.body);
  expect(second.headers.get("location")).toBe(first.headers.get("location"));
  expect([first.headers.get("idempotency-replayed"), second.headers.get("idempotency-replayed")]).toEqual([
    null,
    "true",
  ]);
  expect(await fleet.query("SELECT 1 FROM operation WHERE kind = 'workload.create'")).toHaveLength(1);
});

test("the same key with another body or project is refused", async () => {
  await post("k2", "two");
  const other = await fleet.call("POST", "/v1/workloads", {
    body: workload("three"),
    headers: { "idempotency-key": "k2" },
  });
  expect([other.status, other.body.code]).toEqual([422, "IDEMPOTENCY_MISMATCH"]);
  const project = await fleet.call("POST", "/v1/instances/two-0/stop", { headers: { "idempotency-key": "k2" } });
  expect(project.body.code).toBe("IDEMPOTENCY_MISMATCH");
});

test("twenty at the same time do it once, and all get the answer", async () => {
  const answers = await Promise.all(Array.from({ length: 20 }, () => post("k3", "burst")));
  expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
  expect(new Set(answers.map(({ body }) => body.id)).size).toBe(1);
  expect(await fleet.query("SELECT 1 FROM workload WHERE name = 'burst'")).toHaveLength(1);
});

test("a refused request does not use up its key", async () => {
  const refused = await fleet.call("POST", "/v1/workloads", {
    body: workload("late", { image: "later" }),
    headers: { "idempotency-key": "k4" },
  });
  expect(refused.status).toBe(404);
  await fleet.addImage("later");
  const accepted = await fleet.call("POST", "/v1/workloads", {
    body: workload("late", { image: "later" }),
    headers: { "idempotency-key": "k4" },
  });
  expect(accepted.status).toBe(202);
});

test("a kill is sent once per key, and again after one that failed", async () => {
  const made = await post("k5", "victim");
  await fleet.call("GET", `/v1/operations/${made.body.id}/wait`);
  const kill = () =>
    fleet.call<Operation>("POST", "/v1/instances/victim-0/kill", { headers: { "idempotency-key": "k6" } });
  const first = await kill();
  const second = await kill();
  expect([first.status, second.body.id]).toEqual([202, first.body.id]);
  expect(agent.signals).toHaveLength(1);
  const missing = () => fleet.call("POST", "/v1/instances/nobody-0/kill", { headers: { "idempotency-key": "k7" } });
  expect((await missing()).status).toBe(404);
  expect((await missing()).status).toBe(404);
});

test("a key whose request is at work is told so; one left by a dead process is taken over", async () => {
  const [row] = await fleet.query<{ token_id: string }>("SELECT token_id FROM idempotency_key LIMIT 1");
  const claim = (age: string) =>
    fleet.query(
      `INSERT INTO idempotency_key (token_id, key, body_hash, created_at)
       SELECT $1, $2, body_hash, now() - $3::interval FROM idempotency_key WHERE key = 'k6'`,
      [row?.token_id, `dead-${age.replace(" ", "-")}`, age],
    );
  await claim("1 second");
  await claim("2 minutes");
  const kill = (age: string) =>
    fleet.call("POST", "/v1/instances/victim-0/kill", {
      headers: { "idempotency-key": `dead-${age.replace(" ", "-")}` },
    });
  expect((await kill("1 second")).body.code).toBe("STATE_CONFLICT");
  expect((await kill("2 minutes")).status).toBe(202);
});

test("a key of a day ago is forgotten", async () => {
  await post("k8", "old");
  await fleet.query("UPDATE idempotency_key SET created_at = now() - interval '25 hours' WHERE key = 'k8'");
  const { status, body } = await fleet.call("POST", "/v1/workloads", {
    body: workload("old"),
    headers: { "idempotency-key": "k8" },
  });
  expect([status, body.code]).toEqual([409, "NAME_TAKEN"]);
});

test("a key that is not one is refused", async () => {
  const { status } = await fleet.call("POST", "/v1/workloads", {
    body: workload("x"),
    headers: { "idempotency-key": "has space" },
  });
  expect(status).toBe(400);
});
