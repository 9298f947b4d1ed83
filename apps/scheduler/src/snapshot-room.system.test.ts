// Room on a host's disk for snapshots, and for the disks of what is restored from them.
import { type HostFacts, type Instance, type Operation, type TakenSnapshot, subjects } from "@bulkhead/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeAgent, testFacts } from "./testing/fake-agent.ts";
import { TestFleet, workload } from "./testing/test-fleet.ts";

const mib = 2 ** 20;
const patience = { timeout: 20_000, interval: 50 };
const taken: TakenSnapshot = { engine: "kvm", sizeBytes: 200 * mib, copyBytes: 400 * mib, stoodStillMs: 1 };

/** A host's facts when its disk has that much left. */
const withFree = (freeBytes: number): HostFacts => ({
  ...testFacts({ enforceable: ["resources", "vm"] }),
  disk: { totalBytes: 1024 * mib, snapshotBytes: 0, freeBytes },
});

let fleet: TestFleet;
let agent: FakeAgent;
let requests = 0;
/** settles when its host may take snapshots */
const taking = Promise.withResolvers<TakenSnapshot>();

beforeAll(async () => {
  fleet = await TestFleet.start();
  agent = await fleet.addHost("one", { isolation: "vm", facts: withFree(300 * mib) });
  agent.bus.respond(subjects.takeSnapshot, { hostId: agent.hostId, isolation: "vm" }, () => {
    requests += 1;
    return taking.promise;
  });
  await fleet.addImage("app");
  const body = workload("web", { isolation: "vm", resources: { cpuMillis: 100, memoryBytes: 128 * mib } });
  await finish((await fleet.call<Operation>("POST", "/v1/workloads", { body })).body);
});
afterAll(() => fleet[Symbol.asyncDispose]());

const finish = async ({ id }: Operation): Promise<Operation> =>
  (await fleet.call<Operation>("GET", `/v1/operations/${id}/wait?timeoutMs=20000`)).body;

const create = () => fleet.call<Operation>("POST", "/v1/instances/web-0/snapshots");

test("a snapshot that its host's disk has no room for is refused at once, also for those that are under way", async () => {
  const asked = await Promise.all(Array.from({ length: 8 }, create));
  const first = asked.filter(({ status }) => status === 202);
  expect(first).toHaveLength(2);
  const third = await create();
  const detail =
    "It takes at least 136 MiB, and the disk of host one has 300 MiB, of which 272 MiB are promised: 108 MiB are missing.";
  expect(third).toMatchObject({ status: 507, body: { code: "SNAPSHOT_NO_ROOM", detail } });
  const rehearsed = await fleet.call("POST", "/v1/instances/web-0/snapshots?dryRun=true");
  expect(rehearsed).toMatchObject({ status: 507, body: { code: "SNAPSHOT_NO_ROOM" } });
  taking.resolve(taken);
  for (const { body } of first) expect((await finish(body)).state).toBe("succeeded");
  expect(requests).toBe(2);
  // What was promised is not any more.
  expect((await finish((await create()).body)).state).toBe("succeeded");
});

test("a copy waits until its host's disk has room for it", async () => {
  const snapshot = (await finish((await create()).body)).target.id;
  const body = { name: "copy" };
  const restored = await fleet.call<Operation>("POST", `/v1/snapshots/${snapshot}/restore`, { body });
  const instance = async () => (await fleet.call<Instance>("GET", "/v1/instances/copy-0")).body;
  const reason = `needs ${400 * mib} bytes of disk, ${300 * mib} are free`;
  await expect
    .poll(instance, patience)
    .toMatchObject({ state: "pending", reason: "NoCapacity", rejections: [{ hostName: "one", reason }] });
  agent.facts = withFree(500 * mib);
  expect((await finish(restored.body)).state).toBe("succeeded");
  expect((await instance()).state).toBe("running");
});
