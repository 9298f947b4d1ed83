import type { Instance, Operation } from "@bulkhead/contracts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { FakeAgent } from "./testing/fake-agent.ts";
import { TestFleet, workload } from "./testing/test-fleet.ts";

let fleet: TestFleet;
let agent: FakeAgent;
beforeAll(async () => {
  fleet = await TestFleet.start();
  agent = await fleet.addHost("one");
  await fleet.addImage("app");
  const { body } = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("job") });
  await finish(body);
});
afterAll(() => fleet[Symbol.asyncDispose]());

const finish = async (operation: Operation): Promise<Operation["state"]> => {
  const { body } = await fleet.call<Operation>("GET", `/v1/operations/${operation.id}/wait?timeoutMs=20000`);
  return body.state;
};

const act = (action: string, options: { body?: unknown; headers?: Record<string, string> } = {}) =>
  fleet.call<Operation>("POST", `/v1/instances/job-0/${action}`, options);

const refused = async (action: string) => {
  const { status, body } = await fleet.call("POST", `/v1/instances/job-0/${action}`);
  return [status, body.code];
};

const job = async () => (await fleet.call<Instance>("GET", "/v1/instances/job-0")).body;

describe("actions", () => {
  test("pause and resume; what is so already succeeds at once", async () => {
    const paused = await act("pause");
    expect([paused.status, await finish(paused.body), (await job()).state]).toEqual([202, "succeeded", "paused"]);
    expect((await act("pause")).body.state).toBe("succeeded");
    expect(await refused("start")).toEqual([409, "STATE_CONFLICT"]);
    const resumed = await act("resume");
    expect([await finish(resumed.body), (await job()).state]).toEqual(["succeeded", "running"]);
    expect((await act("resume")).body.state).toBe("succeeded");
  });

  test("restart runs it again on the same host", async () => {
    const before = await job();
    const restarted = await act("restart");
    expect(await finish(restarted.body)).toBe("succeeded");
    const after = await job();
    expect([after.attempt, after.hostId, after.epoch]).toEqual([before.attempt + 1, before.hostId, before.epoch]);
  });

  test("stop keeps it, with its own grace for this once; start runs it again", async () => {
    const stopped = await act("stop", { body: { graceMs: 5 } });
    expect(await finish(stopped.body)).toBe("succeeded");
    const instance = await job();
    expect([instance.state, instance.reason, instance.desired]).toEqual(["stopped", "StoppedByUser", "stopped"]);
    expect(agent.runs.get(instance.id)?.assignment.spec.stopGraceMs).toBe(5);
    expect(await refused("pause")).toEqual([409, "STATE_CONFLICT"]);
    expect(await refused("resume")).toEqual([409, "STATE_CONFLICT"]);
    expect(await refused("kill")).toEqual([409, "STATE_CONFLICT"]);
    const started = await act("start");
    expect(await finish(started.body)).toBe("succeeded");
    expect((await job()).state).toBe("running");
    expect(agent.runs.get(instance.id)?.assignment.spec.stopGraceMs).toBe(10_000);
  });

  test("kill sends a signal through the agent", async () => {
    const killed = await act("kill", { body: { signal: 15 } });
    expect([killed.status, killed.body.kind, killed.body.state]).toEqual([202, "instance.kill", "succeeded"]);
    const plain = await act("kill");
    expect(plain.status).toBe(202);
    expect(agent.signals.map(({ signal }) => signal)).toEqual([15, 9]);
  });

  test("a dry run meets the refusals of the real thing and changes nothing", async () => {
    const before = await job();
    const rehearsed = await fleet.call<Instance>("POST", "/v1/instances/job-0/stop?dryRun=true");
    expect([rehearsed.status, rehearsed.body.id]).toEqual([200, before.id]);
    expect(await refused("resume?dryRun=true")).toEqual([200, undefined]);
    expect(await refused("start?dryRun=true")).toEqual([200, undefined]);
    expect((await fleet.call("POST", "/v1/instances/job-0/kill?dryRun=true")).status).toBe(200);
    const stale = await fleet.call("POST", "/v1/instances/job-0/stop?dryRun=true", {
      headers: { "if-match": '"99999"' },
    });
    expect(stale.body.code).toBe("VERSION_MISMATCH");
    expect(await job()).toEqual(before);
    expect(agent.signals).toHaveLength(2);
  });

  test("If-Match guards them", async () => {
    const { version } = await job();
    const { status, body } = await fleet.call("POST", "/v1/instances/job-0/stop", {
      headers: { "if-match": `"${version + 1}"` },
    });
    expect([status, body.code]).toEqual([412, "VERSION_MISMATCH"]);
    const malformed = await fleet.call("POST", "/v1/instances/job-0/stop", { headers: { "if-match": "3" } });
    expect(malformed.body.code).toBe("REQUEST_INVALID");
  });

  test("an instance without a host stops at once and waits again when started", async () => {
    const constraints = { hostLabels: { nowhere: "yes" } };
    await fleet.call("POST", "/v1/workloads", { body: workload("waiting", { constraints }) });
    const { body } = await fleet.call<Operation>("POST", "/v1/instances/waiting-0/stop");
    expect(body.state).toBe("succeeded");
    const stopped = await fleet.call<Instance>("GET", "/v1/instances/waiting-0");
    expect([stopped.body.state, stopped.body.reason]).toEqual(["stopped", "StoppedByUser"]);
    const started = await fleet.call<Operation>("POST", "/v1/instances/waiting-0/start");
    expect(started.body.state).toBe("running");
    expect((await fleet.call<Instance>("GET", "/v1/instances/waiting-0")).body.state).toBe("pending");
    expect((await fleet.call("POST", "/v1/instances/waiting-0/restart")).body.code).toBe("STATE_CONFLICT");
  });

  test("one that is being removed takes no orders", async () => {
    agent.outcome = () => ({ state: "running" });
    const made = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("leaving") });
    await finish(made.body);
    await fleet.query("UPDATE instance SET removing = true WHERE name = 'leaving-0'");
    const { status, body } = await fleet.call("POST", "/v1/instances/leaving-0/restart");
    expect([status, body.code]).toEqual([409, "STATE_CONFLICT"]);
  });
});

describe("wait", () => {
  test("answers as soon as the state is there, 408 when it is not in time", async () => {
    const started = performance.now();
    const waiting = fleet.call<Instance>("GET", "/v1/instances/job-0/wait?for=paused&timeoutMs=20000");
    await act("pause");
    expect((await waiting).body.state).toBe("paused");
    expect(performance.now() - started).toBeLessThan(10_000);
    const late = await fleet.call("GET", "/v1/instances/job-0/wait?for=running&timeoutMs=50");
    expect([late.status, late.body.code]).toEqual([408, "WAIT_TIMEOUT"]);
    await finish((await act("resume")).body);
  });

  test("says at once that a failed instance will not run", async () => {
    agent.outcome = () => ({ state: "failed", reason: "EntrypointNotFound", detail: "/bin/nothing" });
    const made = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("broken") });
    const { status, body } = await fleet.call("GET", "/v1/instances/broken-0/wait?for=running&timeoutMs=20000");
    expect([status, body.code]).toEqual([409, "STATE_CONFLICT"]);
    expect(body.detail).toContain("EntrypointNotFound: /bin/nothing");
    const operation = await fleet.call<Operation>("GET", `/v1/operations/${made.body.id}/wait`);
    expect(operation.body).toMatchObject({ state: "failed", error: { code: "EXEC_FAILED" } });
    agent.outcome = () => ({ state: "running" });
  });

  test("needs a state that exists", async () => {
    expect((await fleet.call("GET", "/v1/instances/job-0/wait")).body.errors?.[0]?.pointer).toBe("/for");
    expect((await fleet.call("GET", "/v1/instances/job-0/wait?for=happy")).body.code).toBe("REQUEST_INVALID");
  });
});

describe("lists", () => {
  test("come in pages", async () => {
    const made = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("many", { replicas: 5 }) });
    await finish(made.body);
    const seen: string[] = [];
    let cursor = "";
    for (;;) {
      const { body } = await fleet.call<{ items: Instance[]; nextCursor: string | null }>(
        "GET",
        `/v1/instances?workload=many&limit=2${cursor}`,
      );
      seen.push(...body.items.map(({ name }) => name));
      if (body.nextCursor === null) break;
      cursor = `&cursor=${body.nextCursor}`;
    }
    expect(seen).toEqual(["many-0", "many-1", "many-2", "many-3", "many-4"]);
  });

  test("filter by state, host and project", async () => {
    const running = await fleet.call<{ items: Instance[] }>(
      "GET",
      "/v1/instances?workload=many&state=running&host=one",
    );
    expect(running.body.items).toHaveLength(5);
    const none = await fleet.call<{ items: Instance[] }>("GET", "/v1/instances", {
      headers: { "bulkhead-project": "other" },
    });
    expect(none.body.items).toEqual([]);
    const all = await fleet.call<{ items: Instance[] }>("GET", "/v1/instances?workload=many", {
      headers: { "bulkhead-project": "*" },
    });
    expect(all.body.items).toHaveLength(5);
  });

  test("refuse cursors that are not theirs", async () => {
    const { status, body } = await fleet.call("GET", "/v1/instances?cursor=nonsense");
    expect([status, body.errors?.[0]?.pointer]).toEqual([400, "/cursor"]);
  });

  test("select workloads by labels", async () => {
    await fleet.call("POST", "/v1/workloads", { body: workload("blue", { labels: { colour: "blue", tier: "a" } }) });
    const found = await fleet.call<{ items: { name: string }[] }>("GET", "/v1/workloads?labelSelector=colour%3Dblue");
    expect(found.body.items.map(({ name }) => name)).toEqual(["blue"]);
    expect((await fleet.call("GET", "/v1/workloads?labelSelector=colour")).body.code).toBe("REQUEST_INVALID");
  });
});
