import { assignment, clusterId, epoch, FakeHost, instanceId, otherClusterId, settle } from "@bulkhead/testkit/runtime";
import { describe, expect, test } from "vitest";
import { StartFailure } from "./index.ts";

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

describe("resize", () => {
  const larger = { cpuMillis: 100, memoryBytes: 128 * 1024 * 1024 };

  const running = async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment());
    await host.clock.advance(10);
    return host;
  };

  test("a newer generation changes the limits of the living run", async () => {
    const host = await running();
    host.control.assign(assignment({ generation: 2, spec: { resources: larger } }));
    await settle();
    expect(host.runtime.run(one).resources).toEqual(larger);
    expect(host.runtime.started).toHaveLength(1);
    expect(host.control.newest(one)).toMatchObject({ generation: 2, resize: { generation: 2, outcome: "applied" } });
  });

  test("a deferred one is tried again; the run keeps its generation until then", async () => {
    const host = await running();
    let refusals = 0;
    host.runtime.script.resize = () =>
      (refusals += 1) < 3 ? { outcome: "deferred", detail: "memory is in use" } : { outcome: "applied" };
    const script = host.runtime.script;
    expect(script.resize).toBeDefined();
    host.control.assign(assignment({ generation: 2, spec: { resources: larger } }));
    await settle();
    expect(host.control.newest(one)).toMatchObject({
      generation: 1,
      resize: { generation: 2, outcome: "deferred", detail: "memory is in use" },
    });
    await host.clock.advance(minute);
    expect(host.control.newest(one)).toMatchObject({ generation: 2, resize: { outcome: "applied" } });
    expect(refusals).toBe(3);
  });

  test("an infeasible one is final for its generation", async () => {
    const host = await running();
    let asked = 0;
    host.runtime.script.resize = () => {
      asked += 1;
      return { outcome: "infeasible", detail: "at least 70 MiB" };
    };
    host.control.assign(assignment({ generation: 2, spec: { resources: larger } }));
    await host.clock.advance(5 * minute);
    expect(asked).toBe(1);
    expect(host.control.newest(one)).toMatchObject({ generation: 1, resize: { generation: 2, outcome: "infeasible" } });
    expect(host.runtime.living(one)).toHaveLength(1);
  });

  test("a change that leaves the resources alone touches no kernel file", async () => {
    const host = await running();
    host.runtime.script.resize = () => {
      throw new Error("not needed");
    };
    host.control.assign(assignment({ generation: 2, spec: { stopGraceMs: 1 } }));
    await settle();
    expect(host.control.newest(one)).toMatchObject({ generation: 2, resize: { outcome: "applied" } });
  });

  test("an instance that waits for its next start takes the generation for that", async () => {
    const host = new FakeHost();
    await host.start();
    host.control.assign(assignment({ spec: { command: ["exit7"], restart: { policy: "never" } } }));
    await settle();
    host.control.update(one, { generation: 2 });
    await settle();
    expect(host.control.newest(one)).toMatchObject({
      state: "failed",
      reason: "Exited",
      generation: 2,
      exit: { exitCode: 7 },
    });
  });
});

describe("restarts", () => {
  test("back-off doubles, is counted, and ends in CrashLoop", async () => {
    const host = new FakeHost();
    await host.start();
    const restart = { policy: "always", backoffMs: 1_000, maxRestarts: 3 } as const;
    host.control.assign(assignment({ spec: { command: ["exit7"], restart } }));
    await settle();
    expect(host.control.newest(one)).toMatchObject({ state: "backoff", reason: "Exited", exit: { exitCode: 7 } });
    await host.clock.advance(999);
    expect(host.runtime.started).toHaveLength(1);
    await host.clock.advance(1);
    expect(host.runtime.started).toHaveLength(2);
    await host.clock.advance(1_999);
    expect(host.runtime.started).toHaveLength(2);
    await host.clock.advance(minute);
    expect(host.runtime.started.map(({ key }) => key.attempt)).toEqual([0, 1, 2, 3]);
    expect(host.control.newest(one)).toMatchObject({ state: "failed", reason: "CrashLoop", restarts: 3 });
    expect(host.control.newest(one).detail).toBe("gave up after 3 restarts; last: exited with code 7");
  });

  test("a user's restart request revives it with a fresh budget", async () => {
    const host = new FakeHost();
    await host.start();
    const restart = { policy: "on-failure", maxRestarts: 0 } as const;
    host.control.assign(assignment({ spec: { command: ["exit7"], restart } }));
    await settle();
    expect(host.control.newest(one).reason).toBe("CrashLoop");
    host.control.update(one, { restartRequest: 1 });
    await settle();
    expect(host.runtime.started).toHaveLength(2);
  });

  test.each(["EntrypointNotFound", "MountNotAllowed", "ImageInvalid"] as const)("%s is final", async (reason) => {
    const host = new FakeHost();
    host.runtime.script.start = () => new StartFailure(reason, "the precise text");
    await host.start();
    host.control.assign(assignment({ spec: { restart: { policy: "always" } } }));
    await host.clock.advance(10 * minute);
    expect(host.control.newest(one)).toMatchObject({ state: "failed", reason, detail: "the precise text", exit: null });
    expect(host.runtime.started).toHaveLength(1);
  });

  test("a missing image is waited for, under every policy, without using up an attempt", async () => {
    const host = new FakeHost();
    let missing = true;
    host.runtime.script.prepare = () => (missing ? new StartFailure("ImageUnavailable", "no such digest") : undefined);
    await host.start();
    host.control.assign(assignment({ spec: { restart: { policy: "never" } } }));
    await host.clock.advance(minute);
    expect(host.control.newest(one)).toMatchObject({ state: "backoff", reason: "ImageUnavailable", restarts: 0 });
    missing = false;
    await host.clock.advance(minute);
    expect(host.control.newest(one)).toMatchObject({ state: "running", attempt: 0 });
  });

  test("whatever else is thrown is RuntimeFailed, and its text reaches the user", async () => {
    const host = new FakeHost();
    host.runtime.script.start = () => {
      throw new TypeError("a bug");
    };
    await host.start();
    host.control.assign(assignment({ spec: { restart: { policy: "never" } } }));
    await settle();
    expect(host.control.newest(one)).toMatchObject({ state: "failed", reason: "RuntimeFailed", detail: "a bug" });
  });

  test("nothing starts while its epoch cannot be recorded; it is told, and starts when there is room", async () => {
    const host = new FakeHost();
    const agent = await host.start();
    host.storage.full = true;
    host.control.assign(assignment());
    await host.clock.advance(100);
    expect(host.runtime.started).toEqual([]);
    expect(host.control.newest(one)).toMatchObject({ state: "backoff", reason: "DiskFull", attempt: 0 });
    expect(agent.problems).toEqual(["state directory: ENOSPC: no space left on device, write"]);
    host.storage.full = false;
    await host.clock.advance(5_000);
    expect(host.control.newest(one)).toMatchObject({ state: "running", attempt: 0 });
    expect(agent.problems).toEqual([]);
  });

  test("a kernel that refuses to pause is asked again, and shown", async () => {
    const host = new FakeHost();
    const agent = await host.start();
    host.control.assign(assignment());
    await settle();
    const run = host.runtime.run(one);
    run.failing.pause = new Error("EBUSY");
    host.control.update(one, { desired: "paused" });
    await settle();
    expect(agent.problems).toEqual(["pause of web-1 failed: EBUSY"]);
    run.failing = {};
    await host.clock.advance(minute);
    expect(run.paused).toBe(true);
    expect(agent.problems).toEqual([]);
  });
});

describe("whom it obeys", () => {
  const running = async () => {
    const host = new FakeHost();
    const agent = await host.start();
    host.control.assign(assignment());
    await host.clock.advance(2_000);
    return { host, agent };
  };

  test("an emptied database ends nothing; the instance is kept and named", async () => {
    const { host } = await running();
    host.control.forget({ version: 99 });
    host.control.announce();
    await host.clock.advance(2_000);
    expect(host.runtime.living(one)).toHaveLength(1);
    expect(host.control.heartbeats.at(-1)).toMatchObject({
      instances: 1,
      unknown: [{ instanceId: one, name: "web-1", epoch: epoch(1) }],
    });
    host.control.assign(assignment());
    await host.clock.advance(2_000);
    expect(host.control.heartbeats.at(-1)?.unknown).toEqual([]);
    expect(host.runtime.started).toHaveLength(1);
  });

  test("a restored database is refused until it starts a new era", async () => {
    const { host, agent } = await running();
    host.control.assign(assignment({ n: 2 }), assignment({ n: 3 }));
    await settle();
    host.control.forget({ version: 1 });
    await host.clock.advance(4_000);
    expect(agent.problems[0]).toContain("older than era 1 version 2");
    expect(host.control.heartbeats.at(-1)).toMatchObject({
      position: { era: 1, version: 2 },
      highestEra: 1,
      unknown: [],
    });
    host.control.forget({ era: 2, version: 2 });
    host.control.assign(assignment());
    await host.clock.advance(4_000);
    expect(agent.problems).toEqual([]);
    expect(host.control.heartbeats.at(-1)?.unknown.map(({ name }) => name)).toEqual(["web-2", "web-3"]);
    expect(host.runtime.living(one)).toHaveLength(1);
    expect(host.runtime.started).toHaveLength(3);
  });

  test("a restored control plane's older numbers count from now on", async () => {
    const { host } = await running();
    const larger = { cpuMillis: 100, memoryBytes: 2 ** 28 };
    host.control.assign(assignment({ restartRequest: 5, generation: 7, spec: { resources: larger } }));
    await host.clock.advance(2_000);
    expect(host.runtime.started).toHaveLength(2);
    host.control.forget({ era: 2, version: 9 });
    host.control.assign(assignment({ restartRequest: 2, generation: 3 }));
    await host.clock.advance(2_000);
    expect(host.runtime.started).toHaveLength(2);
    expect(host.runtime.run(one).resources).toEqual(assignment().spec.resources);
    expect(host.control.newest(one)).toMatchObject({ state: "running", generation: 3 });
    host.control.update(one, { restartRequest: 3 });
    await host.clock.advance(2_000);
    expect(host.runtime.started).toHaveLength(3);
  });

  test("a host that was told less than everything asks for everything at once", async () => {
    const { host } = await running();
    host.control.end(one);
    await settle();
    host.control.fetches = [];
    host.control.assign(assignment({ n: 2 }));
    await settle();
    expect(host.control.fetches).toEqual([{ clusterId, era: 1, version: 2 }, null]);
    expect(host.control.heartbeats.at(-1)?.digest).not.toBe(host.control.digest);
    await host.clock.advance(2_000);
    expect(host.control.heartbeats.at(-1)?.digest).toBe(host.control.digest);
    expect(host.control.fetches).toHaveLength(2);
  });

  test("another cluster's orders are refused, and shown", async () => {
    const { host, agent } = await running();
    host.control.forget({ clusterId: otherClusterId, era: 7, version: 7 });
    host.control.assign(assignment({ n: 2 }));
    await host.clock.advance(4_000);
    expect(agent.problems[0]).toContain(
      `cluster ${otherClusterId} offers orders; this host obeys cluster ${clusterId}`,
    );
    expect(host.control.heartbeats.at(-1)?.facts.problems).toEqual(agent.problems);
    expect(host.runtime.living(one)).toHaveLength(1);
    expect(host.runtime.living(instanceId(2))).toEqual([]);
  });

  test("a host that obeyed nobody yet refuses a cluster it did not join", async () => {
    const host = new FakeHost();
    host.control.forget({ clusterId: otherClusterId });
    host.control.assign(assignment());
    const agent = await host.start();
    expect(host.runtime.started).toEqual([]);
    expect(agent.problems).toHaveLength(1);
  });

  test("an epoch older than the highest seen is refused, also by the next agent", async () => {
    const { host } = await running();
    host.control.assign(assignment({ epoch: epoch(5) }));
    await settle();
    host.control.end(one);
    await settle();
    host.kill();
    const agent = await host.start();
    host.control.assign(assignment({ epoch: epoch(4) }));
    await host.clock.advance(minute);
    expect(host.runtime.living(one)).toEqual([]);
    expect(agent.problems).toEqual(["an assignment of web-1 is older than what this host has seen"]);
  });

  test("a tombstone that the control plane forgot it was told of is answered again", async () => {
    const { host } = await running();
    host.control.end(one);
    await settle();
    const told = host.control.folded.filter(({ state }) => state === "gone").length;
    host.control.assign(assignment());
    host.control.end(one);
    await settle();
    expect(host.control.folded.filter(({ state }) => state === "gone")).toHaveLength(told + 1);
    expect(host.control.tombstones).toEqual([]);
    expect(host.runtime.started).toHaveLength(1);
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
