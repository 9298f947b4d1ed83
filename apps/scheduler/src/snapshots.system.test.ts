import {
  type Operation,
  type Snapshot,
  type TakenSnapshot,
  type Workload,
  fleetError,
  subjects,
} from "@bulkhead/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeAgent, testFacts } from "./testing/fake-agent.ts";
import { TestFleet, workload } from "./testing/test-fleet.ts";

const memoryBytes = 128 * 2 ** 20;
const taken: TakenSnapshot = { engine: "kvm", sizeBytes: 5_000_000_000, stoodStillMs: 12 };
const patience = { timeout: 20_000, interval: 50 };

let fleet: TestFleet;
let agent: FakeAgent;
/** what hosts were asked for, in order */
const asked: string[] = [];
/** what the host answers when it is asked to read one */
let verify: () => Promise<object> = async () => ({});
/** what the host answers when it is asked to remove one */
let remove: () => Promise<object> = async () => ({});
/** what the host answers when it is asked to take one */
let take: () => Promise<TakenSnapshot> = async () => taken;

const finish = async (operation: Operation): Promise<Operation> => {
  const path = `/v1/operations/${operation.id}/wait?timeoutMs=20000`;
  return (await fleet.call<Operation>("GET", path)).body;
};

const addVmHost = async (name: string): Promise<FakeAgent> => {
  const enforceable = ["resources", "network", "vm"];
  const added = await fleet.addHost(name, { isolation: "vm", facts: testFacts({ enforceable }) });
  const address = { hostId: added.hostId, isolation: "vm" };
  added.bus.respond(subjects.takeSnapshot, address, async ({ snapshotId }) => {
    asked.push(`take ${snapshotId}`);
    return take();
  });
  added.bus.respond(subjects.removeSnapshot, address, async ({ snapshotId }) => {
    asked.push(`remove ${snapshotId}`);
    return remove();
  });
  added.bus.respond(subjects.verifySnapshot, address, async ({ snapshotId }) => {
    asked.push(`verify ${snapshotId}`);
    return verify();
  });
  return added;
};

beforeAll(async () => {
  fleet = await TestFleet.start();
  agent = await addVmHost("one");
  await fleet.addHost("boxes");
  await fleet.addImage("app");
  const ports = [{ containerPort: 80, hostPort: 8080 }];
  await fleet.call("POST", "/v1/networks", { body: { name: "lan", ipv4Range: "198.51.100.0/24" } });
  const spec = { isolation: "vm", network: "lan", ports, resources: { cpuMillis: 100, memoryBytes } };
  for (const body of [workload("web", spec), workload("box")]) {
    await finish((await fleet.call<Operation>("POST", "/v1/workloads", { body })).body);
  }
  // Another host with more room, which a copy must not go to.
  await addVmHost("two");
});
afterAll(() => fleet[Symbol.asyncDispose]());

const create = (headers: Record<string, string> = {}) =>
  fleet.call<Operation>("POST", "/v1/instances/web-0/snapshots", { headers });

const made = async (): Promise<Snapshot> => {
  const operation = await finish((await create()).body);
  expect(operation).toMatchObject({ kind: "snapshot.create", state: "succeeded", error: null });
  return (await fleet.call<Snapshot>("GET", `/v1/snapshots/${operation.target.id}`)).body;
};

const codeOf = async (method: string, path: string, body?: object): Promise<unknown> => {
  const answer = await fleet.call(method, path, body === undefined ? {} : { body });
  return [answer.status, answer.body.code];
};

const gone = (id: string) =>
  expect.poll(async () => (await fleet.call("GET", `/v1/snapshots/${id}`)).status, patience).toBe(404);

test("a snapshot is taken once for one key, and says of what, where and how large it is", async () => {
  const [first, again] = [await create({ "idempotency-key": "once" }), await create({ "idempotency-key": "once" })];
  expect([first.status, again.body.id]).toEqual([202, first.body.id]);
  expect(await finish(first.body)).toMatchObject({ state: "succeeded", target: { type: "snapshot" } });
  const { items } = (await fleet.call<{ items: Snapshot[] }>("GET", "/v1/snapshots")).body;
  expect(items).toMatchObject([
    { instanceName: "web-0", workloadName: "web", state: "ready", engine: "kvm", sizeBytes: 5_000_000_000, copies: 0 },
  ]);
  expect(items[0]).toMatchObject({ hostId: agent.hostId, hostName: "one", spec: { resources: { memoryBytes } } });
  expect(asked).toEqual([`take ${items[0]?.id}`]);
  const events = "SELECT type FROM event WHERE type LIKE 'snapshot.%'";
  await expect.poll(() => fleet.query(events), patience).toEqual([{ type: "snapshot.created" }]);
  expect(await codeOf("DELETE", "/v1/images/app:latest")).toEqual([409, "IMAGE_IN_USE"]);
});

test("copies are a workload on the snapshot's host, and the snapshot stays while there are any", async () => {
  const { id } = await made();
  const body = { name: "copies", copies: 2 };
  const restored = await fleet.call<Operation>("POST", `/v1/snapshots/${id}/restore`, { body });
  expect(restored.status).toBe(202);
  expect((await finish(restored.body)).state).toBe("succeeded");
  const copies = (await fleet.call<Workload>("GET", "/v1/workloads/copies")).body;
  const restoredFrom = { snapshotId: id, hostId: agent.hostId };
  expect(copies.spec).toMatchObject({ replicas: 2, vm: { engine: "kvm", restoredFrom } });
  const runs = [...agent.runs.values()].filter(({ assignment }) => assignment.workloadId === copies.id);
  expect(runs.map(({ assignment }) => assignment.spec.vm?.restoredFrom)).toEqual([restoredFrom, restoredFrom]);
  // Two cannot have the one port of their host that the original has.
  expect(
    new Set(runs.flatMap(({ assignment }) => assignment.network?.ports.map(({ hostPort }) => hostPort))).size,
  ).toBe(2);
  expect((await fleet.call<Snapshot>("GET", `/v1/snapshots/${id}`)).body.copies).toBe(2);
  expect(await codeOf("DELETE", `/v1/snapshots/${id}`)).toEqual([409, "SNAPSHOT_IN_USE"]);
  expect(await codeOf("POST", `/v1/snapshots/${id}/restore`, body)).toEqual([409, "NAME_TAKEN"]);

  await finish((await fleet.call<Operation>("DELETE", "/v1/workloads/copies?graceMs=0")).body);
  expect((await fleet.call<Snapshot>("DELETE", `/v1/snapshots/${id}?dryRun=true`)).body.state).toBe("ready");
  expect((await fleet.call<Snapshot>("DELETE", `/v1/snapshots/${id}`)).body.state).toBe("deleting");
  await gone(id);
  expect(asked).toContain(`remove ${id}`);
});

test("what its host refuses is the operation's error and the snapshot's, until nothing is left of it", async () => {
  take = () => Promise.reject(fleetError("SNAPSHOT_UNSUPPORTED", "the engine qemu takes no machine to files"));
  remove = () => Promise.reject(fleetError("OVERLOADED", "the host has too much to do"));
  const operation = await finish((await create()).body);
  take = async () => taken;
  expect(operation).toMatchObject({ state: "failed", error: { code: "SNAPSHOT_UNSUPPORTED", status: 422 } });
  const path = `/v1/snapshots/${operation.target.id}`;
  const problem = { code: "SNAPSHOT_UNSUPPORTED", detail: "the engine qemu takes no machine to files" };
  expect((await fleet.call<Snapshot>("GET", path)).body).toMatchObject({ state: "failed", problem, sizeBytes: null });
  expect(await codeOf("POST", `${path}/restore`, {})).toEqual([409, "STATE_CONFLICT"]);
  expect(await codeOf("POST", `${path}/verify`)).toEqual([409, "STATE_CONFLICT"]);
  remove = async () => ({});
  await gone(operation.target.id);
  expect(asked.at(-1)).toBe(`remove ${operation.target.id}`);
});

test("a host that does not answer is asked again", async () => {
  let failures = 1;
  take = async () => {
    failures -= 1;
    if (failures >= 0) throw fleetError("OVERLOADED", "the host has too much to do");
    return taken;
  };
  expect((await made()).state).toBe("ready");
  take = async () => taken;
});

const damaged = fleetError("SNAPSHOT_CORRUPT", "snapshot X is damaged: its memory is not what was written");

test("a snapshot that is damaged is not restored any more, until it is found sound", async () => {
  const { id } = await made();
  const path = `/v1/snapshots/${id}`;
  const verified = async (): Promise<Operation> => finish((await fleet.call<Operation>("POST", `${path}/verify`)).body);
  expect(await verified()).toMatchObject({ kind: "snapshot.verify", state: "succeeded", target: { id } });
  expect((await fleet.call<Snapshot>("GET", path)).body).toMatchObject({ state: "ready", problem: null });

  verify = () => Promise.reject(damaged);
  expect(await verified()).toMatchObject({ state: "failed", error: { code: "SNAPSHOT_CORRUPT" } });
  const problem = { code: "SNAPSHOT_CORRUPT", detail: damaged.message };
  expect((await fleet.call<Snapshot>("GET", path)).body).toMatchObject({ state: "corrupt", problem });
  expect(await codeOf("POST", `${path}/restore`, {})).toEqual([409, "SNAPSHOT_CORRUPT"]);
  const events = "SELECT data ->> 'snapshotId' AS id FROM event WHERE type = 'snapshot.corrupt'";
  await expect.poll(() => fleet.query(events), patience).toEqual([{ id }]);

  verify = async () => ({});
  expect((await verified()).state).toBe("succeeded");
  expect((await fleet.call<Snapshot>("GET", path)).body).toMatchObject({ state: "ready", problem: null });
});

test("a host that reads for long is asked again, and how far it is stands in the operation", async () => {
  const { id } = await made();
  let done = false;
  verify = async () => {
    if (!done) throw fleetError("SNAPSHOT_UNDER_WAY", "its host has read 7 of 64 MiB");
    return {};
  };
  const { body: operation } = await fleet.call<Operation>("POST", `/v1/snapshots/${id}/verify`);
  const progress = async () => (await fleet.call<Operation>("GET", `/v1/operations/${operation.id}`)).body.progress;
  await expect.poll(progress, patience).toBe("its host has read 7 of 64 MiB");
  done = true;
  expect(await finish(operation)).toMatchObject({ state: "succeeded", progress: null });
  verify = async () => ({});
});

test("a snapshot is neither verified twice at once nor deleted meanwhile", async () => {
  const { id } = await made();
  const answer = Promise.withResolvers<object>();
  verify = () => answer.promise;
  const { body: operation } = await fleet.call<Operation>("POST", `/v1/snapshots/${id}/verify`);
  expect(await codeOf("POST", `/v1/snapshots/${id}/verify`)).toEqual([409, "STATE_CONFLICT"]);
  expect(await codeOf("DELETE", `/v1/snapshots/${id}`)).toEqual([409, "STATE_CONFLICT"]);
  answer.resolve({});
  verify = async () => ({});
  expect((await finish(operation)).state).toBe("succeeded");
});

test("a copy that its host refuses for the snapshot's files marks the snapshot", async () => {
  const { id } = await made();
  agent.outcome = () => ({ state: "failed", reason: "SnapshotCorrupt", detail: damaged.message });
  const body = { name: "refused" };
  const restored = await fleet.call<Operation>("POST", `/v1/snapshots/${id}/restore`, { body });
  expect(await finish(restored.body)).toMatchObject({ state: "failed", error: { code: "SNAPSHOT_CORRUPT" } });
  agent.outcome = () => ({ state: "running" });
  expect((await fleet.call<Snapshot>("GET", `/v1/snapshots/${id}`)).body).toMatchObject({
    state: "corrupt",
    problem: { code: "SNAPSHOT_CORRUPT", detail: damaged.message },
  });
  await finish((await fleet.call<Operation>("DELETE", "/v1/workloads/refused?graceMs=0")).body);
});

test("a snapshot cannot be restored or deleted before it is taken", async () => {
  const answer = Promise.withResolvers<TakenSnapshot>();
  take = () => answer.promise;
  const { body: operation } = await create();
  const path = `/v1/snapshots/${operation.target.id}`;
  expect(await codeOf("POST", `${path}/restore`, {})).toEqual([409, "STATE_CONFLICT"]);
  expect(await codeOf("DELETE", path)).toEqual([409, "STATE_CONFLICT"]);
  answer.resolve(taken);
  take = async () => taken;
  expect((await finish(operation)).state).toBe("succeeded");
});

test("requests that make no sense are refused with what is wrong", async () => {
  const { id } = await made();
  expect(await codeOf("POST", "/v1/instances/box-0/snapshots")).toEqual([422, "SNAPSHOT_UNSUPPORTED"]);
  expect(await codeOf("POST", "/v1/instances/none-0/snapshots")).toEqual([404, "NOT_FOUND"]);
  expect(await codeOf("GET", "/v1/snapshots/web")).toEqual([404, "NOT_FOUND"]);
  expect(await codeOf("POST", `/v1/snapshots/${id}/restore`, { copies: 0 })).toEqual([400, "REQUEST_INVALID"]);
  expect(await codeOf("POST", `/v1/snapshots/${id}/restore`, { name: "a".repeat(63) })).toEqual([
    400,
    "REQUEST_INVALID",
  ]);
  const vm = { restoredFrom: { snapshotId: id, hostId: agent.hostId } };
  const body = workload("forged", { isolation: "vm", vm, resources: { cpuMillis: 100, memoryBytes } });
  expect(await codeOf("POST", "/v1/workloads", body)).toEqual([422, "FIELD_NOT_APPLICABLE"]);
  const stale = await create({ "if-match": '"99999"' });
  expect(stale.status).toBe(412);
  const other = await fleet.call("GET", `/v1/snapshots/${id}`, { headers: { "bulkhead-project": "elsewhere" } });
  expect(other.status).toBe(404);
  await finish((await fleet.call<Operation>("POST", "/v1/instances/web-0/pause")).body);
  expect(await codeOf("POST", "/v1/instances/web-0/snapshots")).toEqual([409, "STATE_CONFLICT"]);
  await finish((await fleet.call<Operation>("POST", "/v1/instances/web-0/resume")).body);
});
