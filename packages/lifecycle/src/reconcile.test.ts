import { type Assignment, type Epoch, type InstanceId, type Tombstone } from "@bulkhead/contracts";
import { describe, expect, test } from "vitest";
import { decide, reconcile, type ActualRun, type InstanceMemory, type InstanceView } from "./index.ts";

const id = "0198c0de-0000-7000-8000-000000000001" as InstanceId;
const at = (n: number, era = 1): Epoch => ({ era, n });
const nowMs = 1_000_000;

const assignment = (
  over: Omit<Partial<Assignment>, "spec"> & { spec?: Partial<Assignment["spec"]> } = {},
): Assignment => ({
  instanceId: id,
  workloadId: "0198c0de-0000-7000-8000-000000000002" as Assignment["workloadId"],
  project: "default",
  name: "cache-0",
  isolation: "container",
  generation: 1,
  epoch: at(1),
  desired: "running",
  restartRequest: 0,
  imageDigest: `sha256:${"0".repeat(64)}` as Assignment["imageDigest"],
  cpuIds: [],
  ...over,
  spec: { image: "redis", resources: { cpuMillis: 100, memoryBytes: 2 ** 26 }, ...over.spec },
});
const run = (over: Partial<ActualRun> = {}): ActualRun => ({
  epoch: at(1),
  attempt: 0,
  ended: false,
  paused: false,
  adopted: true,
  ...over,
});
const memory = (over: Partial<InstanceMemory> = {}): InstanceMemory => ({
  epoch: at(1),
  attempt: 0,
  phase: "running",
  generation: 1,
  restartRequest: 0,
  restarts: 0,
  streak: 0,
  retryAtMs: null,
  settled: null,
  resize: null,
  ...over,
});
const view = (over: Partial<InstanceView> = {}): InstanceView => ({
  instanceId: id,
  assignment: null,
  tombstones: [],
  runs: [],
  memory: null,
  leaseHeld: true,
  ...over,
});
const tombstone = (epoch: Epoch, answered = false): Tombstone & { answered: boolean } => ({
  instanceId: id,
  epoch,
  graceMs: 5,
  answered,
});
const bucketOf = (over: Partial<InstanceView>): string => decide(view(over), nowMs).bucket;

describe("what nothing says to end is kept", () => {
  test("a run that no document names is unknown", () => {
    expect(decide(view({ runs: [run()] }), nowMs)).toMatchObject({ bucket: "unknown" });
  });

  test("a tombstone of another epoch does not end a run, and its own epoch's does", () => {
    const other = view({ runs: [run()], tombstones: [tombstone(at(2), true)] });
    expect(decide(other, nowMs).bucket).toBe("unknown");
    expect(decide(view({ runs: [run()], tombstones: [tombstone(at(1))] }), nowMs)).toMatchObject({
      bucket: "stop",
      graceMs: 5,
    });
  });

  test("a newer assignment waits until the tombstone of the old run has come", () => {
    const newer = assignment({ epoch: at(2) });
    expect(bucketOf({ assignment: newer, runs: [run()], memory: memory() })).toBe("unknown");
    const both = { assignment: newer, tombstones: [tombstone(at(1))] };
    expect(bucketOf({ ...both, runs: [run()], memory: memory() })).toBe("stop");
    expect(decide(view({ ...both, memory: memory({ phase: "ended" }) }), nowMs)).toMatchObject({
      bucket: "remove",
      last: false,
    });
    expect(bucketOf({ ...both, tombstones: [tombstone(at(1), true)], memory: memory({ phase: "gone" }) })).toBe(
      "start",
    );
  });

  test("an assignment older than the highest epoch seen is refused", () => {
    const older = view({
      assignment: assignment({ epoch: at(9) }),
      memory: memory({ epoch: at(1, 2), phase: "ended" }),
    });
    expect(decide(older, nowMs)).toMatchObject({ bucket: "keep", why: "refused" });
  });

  test("an epoch that was ended does not come back", () => {
    expect(decide(view({ assignment: assignment(), memory: memory({ phase: "gone" }) }), nowMs)).toMatchObject({
      why: "refused",
    });
  });
});

describe("towards what is wanted", () => {
  test("a new assignment starts, and so does one whose start was interrupted", () => {
    expect(bucketOf({ assignment: assignment() })).toBe("start");
    expect(bucketOf({ assignment: assignment(), memory: memory({ phase: "starting" }) })).toBe("start");
  });

  test("what was running and is not there is lost", () => {
    expect(bucketOf({ assignment: assignment(), memory: memory() })).toBe("lost");
  });

  test("back-off waits for its time", () => {
    const waiting = memory({ phase: "ended", retryAtMs: nowMs + 1 });
    expect(decide(view({ assignment: assignment(), memory: waiting }), nowMs)).toEqual({
      bucket: "keep",
      why: "backoff",
      untilMs: nowMs + 1,
    });
    expect(decide(view({ assignment: assignment(), memory: waiting }), nowMs + 1).bucket).toBe("start");
  });

  test("a restart request overrides back-off and failure, once", () => {
    const asked = assignment({ restartRequest: 1 });
    const failed = memory({ phase: "ended", settled: { state: "failed", reason: "Exited", detail: null } });
    expect(bucketOf({ assignment: asked, memory: failed })).toBe("start");
    expect(bucketOf({ assignment: asked, memory: memory({ phase: "ended", retryAtMs: nowMs + 1 }) })).toBe("start");
    expect(bucketOf({ assignment: asked, runs: [run()], memory: memory() })).toBe("restart");
    expect(bucketOf({ assignment: asked, runs: [run()], memory: memory({ restartRequest: 1 }) })).toBe("keep");
    expect(bucketOf({ assignment: asked, memory: { ...failed, restartRequest: 1 } })).toBe("keep");
  });

  test("stopped stays stopped until running is wanted again", () => {
    const settled = { state: "stopped", reason: "StoppedByUser", detail: null } as const;
    const stopped = memory({ phase: "ended", settled });
    expect(bucketOf({ assignment: assignment({ desired: "stopped" }), runs: [run()], memory: memory() })).toBe("stop");
    expect(bucketOf({ assignment: assignment({ desired: "stopped" }), memory: stopped })).toBe("keep");
    expect(bucketOf({ assignment: assignment(), memory: stopped })).toBe("start");
  });

  test("a stop is answered even where nothing runs", () => {
    const stop = { bucket: "stop", run: null, graceMs: 10_000 };
    expect(decide(view({ assignment: assignment({ desired: "stopped" }) }), nowMs)).toEqual(stop);
    const backoff = memory({ phase: "ended", retryAtMs: nowMs + 1 });
    expect(decide(view({ assignment: assignment({ desired: "stopped" }), memory: backoff }), nowMs)).toEqual(stop);
  });

  test("pause and resume follow the run", () => {
    const paused = assignment({ desired: "paused" });
    expect(bucketOf({ assignment: paused, runs: [run()], memory: memory() })).toBe("pause");
    expect(bucketOf({ assignment: paused, runs: [run({ paused: true })], memory: memory() })).toBe("keep");
    expect(bucketOf({ assignment: assignment(), runs: [run({ paused: true })], memory: memory() })).toBe("resume");
    expect(bucketOf({ assignment: paused })).toBe("start");
  });

  test("a newer generation resizes once; infeasible is final and deferred comes back", () => {
    const newer = assignment({ generation: 2 });
    expect(bucketOf({ assignment: newer, runs: [run()], memory: memory() })).toBe("resize");
    const infeasible = memory({ resize: { generation: 2, outcome: "infeasible" } });
    expect(bucketOf({ assignment: newer, runs: [run()], memory: infeasible })).toBe("keep");
    const deferred = memory({ resize: { generation: 2, outcome: "deferred" }, retryAtMs: nowMs + 1 });
    expect(decide(view({ assignment: newer, runs: [run()], memory: deferred }), nowMs)).toMatchObject({
      why: "resizeWaits",
    });
    expect(decide(view({ assignment: newer, runs: [run()], memory: deferred }), nowMs + 1).bucket).toBe("resize");
  });

  test("a restored control plane may go back to an older generation", () => {
    const older = assignment({ generation: 1 });
    expect(bucketOf({ assignment: older, runs: [run()], memory: memory({ generation: 3 }) })).toBe("resize");
  });

  test("a deferred resize does not hold up a pause", () => {
    const deferred = memory({ resize: { generation: 2, outcome: "deferred" }, retryAtMs: nowMs + 1 });
    expect(
      bucketOf({ assignment: assignment({ generation: 2, desired: "paused" }), runs: [run()], memory: deferred }),
    ).toBe("pause");
  });

  test("what may run only once waits for the lease, and only to start", () => {
    const once = assignment({ spec: { onLoss: "replace" } });
    expect(decide(view({ assignment: once, leaseHeld: false }), nowMs)).toMatchObject({ bucket: "keep", why: "lease" });
    expect(bucketOf({ assignment: once, leaseHeld: true })).toBe("start");
    expect(bucketOf({ assignment: once, leaseHeld: false, runs: [run()], memory: memory() })).toBe("keep");
    expect(bucketOf({ assignment: assignment(), leaseHeld: false })).toBe("start");
  });
});

describe("the books", () => {
  test("an end is taken in before anything else happens to the instance", () => {
    const ended = run({ ended: true });
    expect(bucketOf({ runs: [ended], tombstones: [tombstone(at(1))] })).toBe("adopt");
    expect(bucketOf({ runs: [ended], assignment: assignment({ restartRequest: 3 }), memory: memory() })).toBe("adopt");
    expect(bucketOf({ runs: [run({ adopted: false })], assignment: assignment({ desired: "stopped" }) })).toBe("adopt");
  });

  test("a tombstone of something never seen is answered, and answered once", () => {
    expect(decide(view({ tombstones: [tombstone(at(3))] }), nowMs)).toMatchObject({ bucket: "remove", last: true });
    expect(bucketOf({ tombstones: [tombstone(at(3), true)] })).toBe("keep");
  });

  test("reconcile sorts a host", () => {
    const [started, ended, strange] = ["1", "2", "3"].map(
      (end) => `0198c0de-0000-7000-8000-00000000000${end}` as InstanceId,
    ) as [InstanceId, InstanceId, InstanceId];
    const result = reconcile(
      [
        view({ instanceId: started, assignment: assignment({ instanceId: started }) }),
        view({ instanceId: ended, runs: [run()], tombstones: [tombstone(at(1))] }),
        view({ instanceId: strange, runs: [run()] }),
      ],
      nowMs,
    );
    expect([...result.start.keys()]).toEqual([started]);
    expect([...result.stop.keys()]).toEqual([ended]);
    expect([...result.unknown.keys()]).toEqual([strange]);
  });
});
