import { assignment, epoch, FakeHost, instanceId, settle } from "@bulkhead/testkit/runtime";
import { describe, expect, test } from "vitest";

const one = instanceId(1);
const minute = 60_000;

describe("towards what is wanted", () => {
  test("an assignment runs, and says so", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await settle();
    expect(host.runtime.living(one)).toHaveLength(1);
    expect(host.control.states(one)).toEqual(["starting", "running"]);
    await host.clock.advance(10);
    expect(host.control.newest(one)).toMatchObject({ attempt: 0, generation: 1, contractHeld: true, restarts: 0 });
  });

  test("one hint is enough: a fetch, a durable epoch, and the start; the document is saved after", async () => {
    const host = new FakeHost();
    await host.start();
    const writes: string[] = [];
    host.runtime.script.start = () => {
      writes.push(...host.storage.files.keys());
      return undefined;
    };
    host.control.assign(assignment());
    await settle();
    expect(writes).toContain("epochs/container.log");
    expect(host.storage.text("epochs/container.log")).toContain(one);
    expect(host.storage.files.has("desired.container.json")).toBe(false);
    await host.clock.advance(100);
    expect(host.storage.text("desired.container.json")).toContain(one);
  });

  test("stop, start again, pause, resume, restart", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await settle();
    host.control.update(one, { desired: "stopped" });
    await host.clock.advance(10);
    expect(host.control.newest(one)).toMatchObject({ state: "stopped", reason: "StoppedByUser", exit: { signal: 15 } });
    host.control.update(one, { desired: "running" });
    await host.clock.advance(10);
    host.control.update(one, { desired: "paused" });
    await host.clock.advance(10);
    expect(host.runtime.run(one).paused).toBe(true);
    host.control.update(one, { desired: "running" });
    await host.clock.advance(10);
    host.control.update(one, { restartRequest: 1 });
    await host.clock.advance(20);
    expect(host.control.states(one).join(" ")).toBe(
      "starting running stopping stopped starting running paused running stopping starting running",
    );
    expect(host.control.newest(one)).toMatchObject({ attempt: 2, restarts: 0 });
    expect(host.runtime.living(one)).toHaveLength(1);
  });

  test("a tombstone ends the run, removes every trace and is answered with the exit code", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await settle();
    host.control.end(one, 1_234);
    await settle();
    expect(host.runtime.removed).toEqual([one]);
    expect(host.control.newest(one)).toMatchObject({ state: "gone", reason: "StoppedByUser", exit: { signal: 15 } });
    expect(host.control.tombstones).toEqual([]);
  });

  test("a later, shorter grace overtakes a patient stop", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment({ spec: { command: ["stubborn"], stopGraceMs: 3_600_000 } }));
    await settle();
    const run = host.runtime.run(one);
    host.control.update(one, { desired: "stopped" });
    await host.clock.advance(1_000);
    expect(run.living).toBe(true);
    host.control.end(one, 100);
    await host.clock.advance(100);
    expect(run.stops).toEqual([3_600_000, 100]);
    expect(host.control.newest(one)).toMatchObject({ state: "gone", exit: { signal: 9 } });
  });

  test("a new epoch replaces the old run after its tombstone, never beside it", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await settle();
    host.control.assign(assignment({ epoch: epoch(2) }));
    await host.clock.advance(10);
    expect(host.runtime.living(one).map(({ key }) => key.epoch)).toEqual([epoch(2)]);
    expect(host.runtime.removed).toEqual([]);
    expect(host.control.folded.filter(({ state }) => state === "gone").map((report) => report.epoch)).toEqual([
      epoch(1),
    ]);
  });

  test("an order to end reaches an instance whose start hangs", async () => {
    const host = new FakeHost();
    host.runtime.script.start = () => "hang";
    await host.start();
    host.control.assign(assignment());
    await settle();
    host.control.end(one);
    await host.clock.advance(10);
    expect(host.control.newest(one).state).toBe("gone");
    expect(host.runtime.runs).toEqual([]);
  });

  test("starts run at once up to the limit, and one that hangs holds up no other", async () => {
    const host = new FakeHost();
    host.runtime.script.start = ({ key }) => (key.instanceId === one ? "hang" : undefined);
    await host.start({ startLimit: 2 });
    host.control.assign(...[1, 2, 3, 4, 5].map((n) => assignment({ n })));
    await settle();
    expect([2, 3, 4, 5].every((n) => host.runtime.living(instanceId(n)).length === 1)).toBe(true);
  });
});

describe("what runs and what is true", () => {
  test("an end that is in the books is not told twice while the kernel refuses to let go", async () => {
    const host = new FakeHost();
    const agent = await host.start();
    host.control.assign(assignment({ spec: { restart: { policy: "never" } } }));
    await settle();
    const run = host.runtime.run(one);
    run.failing.release = new Error("EBUSY");
    run.end({ exitCode: 3 });
    await host.clock.advance(minute);
    expect(agent.problems).toEqual(["adopt of web-1 failed: EBUSY"]);
    run.failing = {};
    await host.clock.advance(minute);
    expect(run.released).toBe(true);
    expect(host.control.folded.filter(({ exit }) => exit !== null)).toHaveLength(1);
  });

  test("a run that vanished is lost, and restarted by policy", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await settle();
    host.runtime.vanish(one);
    host.kill();
    await host.start();
    expect(host.control.newest(one)).toMatchObject({ state: "backoff", reason: "Vanished", exit: null });
    await host.clock.advance(1_000);
    expect(host.control.newest(one)).toMatchObject({ state: "running", attempt: 1, restarts: 1 });
  });

  test("a broken contract is reported, and so is its repair", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await host.clock.advance(10);
    const run = host.runtime.run(one);
    run.violations = ["memory.max is 1, promised 2"];
    await host.clock.advance(30_010);
    expect(host.control.newest(one)).toMatchObject({
      state: "running",
      contractHeld: false,
      detail: "not enforced as promised: memory.max is 1, promised 2",
    });
    const reports = host.control.folded.length;
    await host.clock.advance(30_010);
    expect(host.control.folded).toHaveLength(reports);
    run.violations = [];
    await host.clock.advance(30_010);
    expect(host.control.newest(one)).toMatchObject({ contractHeld: true, detail: null });
  });

  test("usage is sampled with the instance's names and the host's", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await host.clock.advance(5_000);
    expect(host.control.usages.at(-1)).toMatchObject({
      hostName: "host-1",
      host: { instances: 1, memoryTotalBytes: 3 },
      instances: [{ instanceId: one, project: "default", workload: "shop", name: "web-1", contractHeld: true }],
    });
  });

  test("usage of many instances comes in messages of a bounded size", async () => {
    const host = new FakeHost();
    await host.start();
    for (let n = 1; n <= 401; n += 1) host.control.assign(assignment({ n }));
    await host.clock.advance(5_000);
    const sizes = host.control.usages.slice(-2).map(({ instances }) => instances.length);
    expect(sizes).toEqual([400, 1]);
  });

  test("signals reach the run; commands for what is not here are refused with their reason", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await settle();
    await host.control.signal({ instanceId: one, signal: 10 });
    expect(host.runtime.run(one).signals).toEqual([10]);
    await expect(host.control.signal({ instanceId: instanceId(2), signal: 10 })).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
    host.control.update(one, { desired: "stopped" });
    await settle();
    await expect(host.control.signal({ instanceId: one, signal: 10 })).rejects.toMatchObject({
      code: "STATE_CONFLICT",
    });
  });

  test("an agent that stops leaves no timer behind", async () => {
    const host = new FakeHost();
    const agent = await host.start();
    host.control.assign(assignment(), assignment({ n: 2, spec: { command: ["exit7"] } }));
    await host.clock.advance(50);
    await agent.stop();
    expect(host.clock.waiting).toBe(0);
  });

  test("an agent that stops leaves everything running, a patient stop included", async () => {
    const host = new FakeHost();
    const agent = await host.start();
    host.control.assign(assignment(), assignment({ n: 2, spec: { command: ["stubborn"] } }));
    await settle();
    host.control.update(instanceId(2), { desired: "stopped" });
    await settle();
    const stopping = agent.stop();
    await host.clock.advance(5_000);
    await stopping;
    expect(host.runtime.living(one)).toHaveLength(1);
    const reports = host.control.folded.length;
    host.control.update(one, { desired: "stopped" });
    await host.clock.advance(0);
    expect(host.runtime.living(one)).toHaveLength(1);
    expect(host.control.folded).toHaveLength(reports);
  });
});
