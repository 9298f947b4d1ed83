import type { Host, Instance, Operation, Workload } from "@bulkhead/contracts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
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

const finish = async (operation: Operation): Promise<Operation> => {
  const { status, body } = await fleet.call<Operation>("GET", `/v1/operations/${operation.id}/wait?timeoutMs=20000`);
  expect(status).toBe(200);
  return body;
};

const create = async (name: string, spec: Record<string, unknown> = {}): Promise<Operation> => {
  const { status, body } = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload(name, spec) });
  expect(status).toBe(202);
  return finish(body);
};

describe("a workload's life", () => {
  test("create answers 202 with an operation that succeeds when every instance runs", async () => {
    const made = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("web", { replicas: 2 }) });
    expect(made.status).toBe(202);
    expect(made.headers.get("location")).toBe(`/v1/operations/${made.body.id}`);
    expect(made.headers.get("x-trace-id")).toMatch(/^[0-9a-f]{32}$/);
    expect(made.body).toMatchObject({ kind: "workload.create", state: "running", project: "default" });
    expect((await finish(made.body)).state).toBe("succeeded");
    const read = await fleet.call<Workload>("GET", "/v1/workloads/web");
    expect(read.headers.get("etag")).toBe('"1"');
    expect(read.body).toMatchObject({
      name: "web",
      generation: 1,
      deleting: false,
      status: { desired: 2, running: 2, pending: 0, failed: 0 },
      spec: {
        isolation: "container",
        replicas: 2,
        restart: { policy: "always", backoffMs: 1000 },
        stopGraceMs: 10_000,
        onLoss: "keep",
        leaseMs: 300_000,
        mounts: [],
        env: {},
        labels: {},
        container: { readOnlyRoot: false },
        resources: { cpuPolicy: "shared", pidsMax: 1024 },
      },
    });
    const instances = await fleet.call<{ items: Instance[] }>("GET", "/v1/instances?workload=web");
    expect(instances.body.items.map(({ name, state, hostName }) => [name, state, hostName])).toEqual([
      ["web-0", "running", "one"],
      ["web-1", "running", "one"],
    ]);
    const audit = await fleet.query("SELECT verb FROM audit WHERE target = $1", [made.body.target.id]);
    expect(audit).toEqual([{ verb: "workload.create" }]);
  });

  test("the agent gets the trace of the request that caused it", async () => {
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const made = await fleet.call<Operation>("POST", "/v1/workloads", {
      body: workload("traced"),
      headers: { traceparent: `00-${traceId}-b7ad6b7169203331-01` },
    });
    expect(made.headers.get("x-trace-id")).toBe(traceId);
    expect((await finish(made.body)).traceId).toBe(traceId);
    const run = [...agent.runs.values()].find(({ assignment }) => assignment.name === "traced-0");
    expect(run?.assignment.traceparent).toContain(traceId);
  });

  test("a patch of limits reaches the running instance without a restart", async () => {
    await create("live");
    const before = await fleet.call<Instance>("GET", "/v1/instances/live-0");
    const patched = await fleet.call<Operation>("PATCH", "/v1/workloads/live", {
      body: { spec: { resources: { cpuLimitMillis: 500, memoryBytes: 128 * 2 ** 20 } } },
      headers: { "content-type": "application/merge-patch+json", "if-match": '"1"' },
    });
    expect([patched.status, patched.headers.get("etag")]).toEqual([202, '"2"']);
    expect((await finish(patched.body)).state).toBe("succeeded");
    const after = await fleet.call<Instance>("GET", "/v1/instances/live-0");
    expect(after.body).toMatchObject({
      state: "running",
      attempt: before.body.attempt,
      epoch: before.body.epoch,
      generation: 2,
      resources: { cpuMillis: 100, cpuLimitMillis: 500, memoryBytes: 128 * 2 ** 20, pidsMax: 1024 },
      resize: { generation: 2, outcome: "applied" },
    });
    const [held] = await fleet.query("SELECT memory_bytes FROM assignment WHERE instance_id = $1", [after.body.id]);
    expect(held).toEqual({ memory_bytes: String(128 * 2 ** 20) });
    const removed = await fleet.call<Operation>("PATCH", "/v1/workloads/live", {
      body: { spec: { resources: { cpuLimitMillis: null } } },
    });
    expect((await finish(removed.body)).state).toBe("succeeded");
    const { body } = await fleet.call<Workload>("GET", "/v1/workloads/live");
    expect(body.spec.resources).not.toHaveProperty("cpuLimitMillis");
  });

  test("replicas go up and down; the highest slots leave", async () => {
    await create("scaled");
    const up = await fleet.call<Operation>("PATCH", "/v1/workloads/scaled", { body: { spec: { replicas: 3 } } });
    expect((await finish(up.body)).state).toBe("succeeded");
    const down = await fleet.call<Operation>("PATCH", "/v1/workloads/scaled", { body: { spec: { replicas: 1 } } });
    expect((await finish(down.body)).state).toBe("succeeded");
    const { body } = await fleet.call<{ items: Instance[] }>("GET", "/v1/instances?workload=scaled");
    expect(body.items.map(({ name }) => name)).toEqual(["scaled-0"]);
  });

  test("delete removes instances and then the workload; deleting again is the same operation or 404", async () => {
    await create("gone", { replicas: 2 });
    const deleted = await fleet.call<Operation>("DELETE", "/v1/workloads/gone?graceMs=100");
    expect(deleted.status).toBe(202);
    const again = await fleet.call<Operation>("DELETE", "/v1/workloads/gone");
    // Either it is still going on, or it is over.
    expect([`202 ${deleted.body.id}`, "404 undefined"]).toContain(`${again.status} ${again.body.id}`);
    expect((await finish(deleted.body)).state).toBe("succeeded");
    expect((await fleet.call("GET", "/v1/workloads/gone")).status).toBe(404);
    expect((await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("gone") })).status).toBe(202);
  });

  test("a workload without a host is deleted at once", async () => {
    const constraints = { hostLabels: { nowhere: "yes" } };
    const made = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("homeless", { constraints }) });
    expect(made.status).toBe(202);
    await expect
      .poll(async () => (await fleet.call<Instance>("GET", "/v1/instances/homeless-0")).body.rejections)
      .toMatchObject([{ hostName: "one" }]);
    const deleted = await fleet.call<Operation>("DELETE", "/v1/workloads/homeless");
    expect(deleted.body.state).toBe("succeeded");
    expect((await fleet.call("GET", "/v1/instances/homeless-0")).status).toBe(404);
  });
});

describe("refusals write nothing", () => {
  const counts = async () =>
    (
      await fleet.query(
        `SELECT (SELECT count(*) FROM workload) w, (SELECT count(*) FROM operation) o, (SELECT count(*) FROM audit) a`,
      )
    )[0];

  test("a name that is taken", async () => {
    await create("taken");
    const before = await counts();
    const { status, body } = await fleet.call("POST", "/v1/workloads", { body: workload("taken") });
    expect([status, body.code]).toEqual([409, "NAME_TAKEN"]);
    expect(await counts()).toEqual(before);
  });

  test("an image that is not there", async () => {
    const before = await counts();
    const { status, body } = await fleet.call("POST", "/v1/workloads", { body: workload("x", { image: "nothing" }) });
    expect([status, body.code, body.errors?.[0]?.pointer]).toEqual([404, "IMAGE_UNAVAILABLE", "/spec/image"]);
    expect(await counts()).toEqual(before);
  });

  test("more than the largest host has, with what it has", async () => {
    const before = await counts();
    const { status, body } = await fleet.call("POST", "/v1/workloads", {
      body: workload("huge", { resources: { cpuMillis: 8_000, memoryBytes: 2 ** 40 } }),
    });
    expect([status, body.code]).toEqual([422, "LIMIT_INFEASIBLE"]);
    expect(body.nearestFeasible).toEqual({ cpuMillis: 4_000, memoryBytes: 8 * 2 ** 30 });
    expect(body.errors?.map(({ pointer }) => pointer)).toEqual([
      "/spec/resources/cpuMillis",
      "/spec/resources/memoryBytes",
    ]);
    expect(await counts()).toEqual(before);
  });

  test("an old ETag", async () => {
    await create("versioned");
    const { status, body } = await fleet.call("PATCH", "/v1/workloads/versioned", {
      body: { spec: { replicas: 2 } },
      headers: { "if-match": '"7"' },
    });
    expect([status, body.code]).toEqual([412, "VERSION_MISMATCH"]);
    expect((await fleet.call("DELETE", "/v1/workloads/versioned", { headers: { "if-match": '"7"' } })).status).toBe(
      412,
    );
  });

  test("a live resize beyond what the host has left, with what it has", async () => {
    await create("growing");
    const { body: host } = await fleet.call<Host>("GET", "/v1/hosts/one");
    const left = host.agents[0]?.facts.capacity.memoryBytes ?? 0;
    const before = await counts();
    const wanted = left - 2 ** 20;
    const { status, body } = await fleet.call("PATCH", "/v1/workloads/growing", {
      body: { spec: { resources: { memoryBytes: wanted } } },
    });
    expect([status, body.code]).toEqual([422, "LIMIT_INFEASIBLE"]);
    expect(body.nearestFeasible?.["memoryBytes"]).toBe(left - host.allocated.memoryBytes + 64 * 2 ** 20);
    expect(body.hosts?.[0]?.hostName).toBe("one");
    const rehearsed = await fleet.call("PATCH", "/v1/workloads/growing?dryRun=true", {
      body: { spec: { resources: { memoryBytes: wanted } } },
    });
    expect(rehearsed.body.code).toBe("LIMIT_INFEASIBLE");
    expect(await counts()).toEqual(before);
    const now = await fleet.call<Instance>("GET", "/v1/instances/growing-0");
    expect([now.body.generation, now.body.resources.memoryBytes]).toEqual([1, 64 * 2 ** 20]);
  });
});

describe("dry runs decide and write nothing", () => {
  test("of a new workload: placements, and reasons where there is none", async () => {
    const plan = await fleet.call<Record<string, unknown>>("POST", "/v1/workloads?dryRun=true", {
      body: workload("planned", { replicas: 2 }),
    });
    expect(plan.status).toBe(200);
    expect(plan.body).toMatchObject({
      name: "planned",
      spec: { replicas: 2, stopGraceMs: 10_000 },
      placements: [
        { name: "planned-0", hostName: "one" },
        { name: "planned-1", hostName: "one" },
      ],
      unplaced: [],
    });
    const nowhere = await fleet.call("POST", "/v1/workloads?dryRun=true", {
      body: workload("planned", { constraints: { hostLabels: { zone: "b" } } }),
    });
    expect(nowhere.body).toMatchObject({ unplaced: [{ name: "planned-0", rejections: [{ hostName: "one" }] }] });
    expect((await fleet.call("GET", "/v1/workloads/planned")).status).toBe(404);
  });

  test("of a patch: the new specification and where added instances would go", async () => {
    await create("patched");
    const plan = await fleet.call("PATCH", "/v1/workloads/patched?dryRun=true", { body: { spec: { replicas: 2 } } });
    expect(plan.body).toMatchObject({ spec: { replicas: 2 }, placements: [{ name: "patched-1", hostName: "one" }] });
    expect((await fleet.call<Workload>("GET", "/v1/workloads/patched")).body.generation).toBe(1);
  });

  test("of a deletion", async () => {
    expect((await fleet.call<Workload>("DELETE", "/v1/workloads/patched?dryRun=true")).body.name).toBe("patched");
    expect((await fleet.call<Workload>("GET", "/v1/workloads/patched")).body.deleting).toBe(false);
  });
});
