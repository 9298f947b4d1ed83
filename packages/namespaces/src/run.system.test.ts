import { execFileSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Digest } from "@bulkhead/contracts";
import { readStatus } from "@bulkhead/native-namespaces";
import { openLeasePage, systemClock, type Run } from "@bulkhead/node";
import { busyboxImage } from "@bulkhead/testkit/images";
import type { ContainerRun } from "./run.ts";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
afterEach(async () => {
  await rig.clear();
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

const shell = (script: string, changes: Parameters<Rig["assignment"]>[1] = {}) =>
  rig.assignment(busybox, { command: ["sh", "-c", script], ...changes });

/** Waits until the run has printed `text`. */
const printed = (run: Parameters<Rig["output"]>[0], text: string) =>
  expect.poll(() => rig.output(run), { timeout: 30_000, interval: 20 }).toContain(text);

describe("limits", () => {
  test("are read back from the kernel as promised", async () => {
    const run = await rig.start(
      shell("exec sleep 1000", {
        resources: {
          cpuMillis: 500,
          cpuLimitMillis: 1500,
          memoryBytes: 32 * 2 ** 20,
          memoryReservationBytes: 2 ** 24,
          pidsMax: 20,
          io: { readBytesPerSec: 2 ** 20, writeOpsPerSec: 100 },
        },
      }),
    );
    expect(run.checkContract()).toEqual({ held: true, violations: [] });
    expect(run.usage()).toMatchObject({ memoryLimitBytes: 32 * 2 ** 20, pids: 1, oomKills: 0 });
    const stalls = {
      someTotalUs: expect.any(Number),
      fullTotalUs: expect.any(Number),
      someAvg10Percent: expect.any(Number),
    };
    expect(run.usage().pressure).toMatchObject({ cpu: stalls, memory: stalls, io: stalls });
  });

  test("memory is a hard limit, and going over it is the reason", async () => {
    const run = await rig.start(
      shell("x=a; while true; do x=$x$x; done", { resources: { memoryBytes: 16 * 2 ** 20 } }),
    );
    const ended = await run.ended;
    expect(ended).toMatchObject({ reason: "OomKilled", exit: { oomKilled: true } });
    expect(ended.detail).toContain("16 MiB");
    const { oom } = ended.exit;
    // The kernel's log is this machine's, and readable here: the shell is named by its program.
    expect(oom).toMatchObject({ limitBytes: 16 * 2 ** 20, processName: "sh" });
    expect(oom?.kills).toBeGreaterThan(0);
    expect(oom?.processRssBytes).toBeGreaterThan(4 * 2 ** 20);
    expect(oom?.peakBytes).toBeGreaterThan(12 * 2 ** 20);
  });

  test("the smallest memory the API takes is enough for a static program", async () => {
    expect(await rig.run(shell("echo ok", { resources: { memoryBytes: 4 * 2 ** 20 } }))).toMatchObject({
      output: "ok\n",
      exitCode: 0,
    });
  });

  test("processes are counted: a fork bomb stops at its limit and the host does not notice", async () => {
    const run = await rig.start(
      shell("i=0; while [ $i -lt 50 ]; do sleep 1000 & i=$((i+1)); done; echo through; wait", {
        resources: { pidsMax: 10 },
      }),
    );
    await printed(run, "fork");
    expect(run.usage().pids).toBeLessThanOrEqual(10);
  });

  test("a CPU limit throttles", async () => {
    const run = await rig.start(
      shell("while true; do :; done", { resources: { cpuMillis: 100, cpuLimitMillis: 100 } }),
    );
    await expect.poll(() => run.usage().throttledPeriods, { timeout: 30_000 }).toBeGreaterThan(2);
    expect(run.usage().throttledNs).toBeGreaterThan(0);
  });
});

/** Waits in the kernel, so that no code of this process can be what ends it: true when `pid` went in time. */
const goesWhileWeAreBlocked = (pid: number, deadlineMs: number): boolean => {
  try {
    execFileSync("timeout", [String(deadlineMs / 1000), "tail", "-s", "0.01", `--pid=${pid}`, "-f", "/dev/null"]);
    return true;
  } catch {
    return false;
  }
};

describe("the end of a run", () => {
  test("a stop is obeyed by signal, and is the reason", async () => {
    const run = await rig.start(shell("trap 'echo bye; exit 3' TERM; echo ready; while true; do sleep 0.05; done"));
    await printed(run, "ready");
    await run.stop(10_000);
    expect(await run.ended).toMatchObject({ reason: "StoppedByUser", exit: { exitCode: 3 } });
    expect(await rig.output(run)).toBe("ready\nbye\n");
  });

  test("who ignores the stop signal is killed when the grace is over", async () => {
    const run = await rig.start(shell("trap '' TERM; sleep 1000 & echo ready; wait; sleep 1000"));
    await printed(run, "ready");
    const begun = performance.now();
    await run.stop(200);
    expect(performance.now() - begun).toBeGreaterThanOrEqual(200);
    expect(await run.ended).toMatchObject({ reason: "StoppedByUser", exit: { signal: 9 } });
  });

  test("a stop that comes before the program listens reaches it when it does", async () => {
    const run = await rig.start(
      shell(
        "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; trap 'echo bye; exit 3' TERM; while :; do sleep 0.02; done",
      ),
    );
    const begun = performance.now();
    await run.stop(30_000);
    expect(performance.now() - begun).toBeLessThan(20_000);
    expect(await run.ended).toMatchObject({ reason: "StoppedByUser", exit: { exitCode: 3 } });
    expect(await rig.output(run)).toBe("bye\n");
  });

  test("a program that never listens is killed when the grace is over", async () => {
    const run = await rig.start(shell("exec sleep 1000"));
    const begun = performance.now();
    await run.stop(150);
    expect(performance.now() - begun).toBeGreaterThanOrEqual(150);
    expect(await run.ended).toMatchObject({ reason: "StoppedByUser", exit: { signal: 9 } });
  });

  test("a signal that ends it is the reason, and the dead take no more", async () => {
    const run = await rig.start(shell("exec sleep 1000"));
    expect(run.signal(9)).toBe(true);
    expect(await run.ended).toMatchObject({ reason: "Signaled", exit: { signal: 9, exitCode: null } });
    expect(run.signal(9)).toBe(false);
    await expect(run.pause()).rejects.toMatchObject({ code: "STATE_CONFLICT" });
    await run.stop(0);
  });

  test("a run must have ended before it is released, and be released before its instance is removed", async () => {
    const run = await rig.start(shell("exec sleep 1000"));
    await expect(run.release()).rejects.toMatchObject({ code: "STATE_CONFLICT" });
    await expect(rig.runtime.remove(run.key.instanceId)).rejects.toThrow(/not released/);
  });

  test("a second run of an instance is refused while one is held, and does the first no harm", async () => {
    const assignment = shell("exec sleep 1000");
    const both = await Promise.allSettled([rig.start(assignment), rig.start(assignment, 1)]);
    expect(both.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    await expect(rig.start(assignment)).rejects.toMatchObject({ reason: "RuntimeFailed" });
    const [run] = (await rig.runtime.list()) as [ContainerRun];
    expect(run.checkContract()).toEqual({ held: true, violations: [] });
    await run.stop(0);
    expect((await run.ended).reason).toBe("StoppedByUser");
  });

  test("an instance that loses its lease ends itself", async () => {
    const page = openLeasePage(rig.paths.leasePage);
    try {
      page.write({ renewedAtNs: systemClock().boottimeNs(), term: 1n });
      const run = await rig.start(shell("exec sleep 1000", { onLoss: "replace", leaseMs: 1_000 }));
      expect(await run.ended).toMatchObject({ reason: "LeaseExpired", exit: { signal: 9 } });
    } finally {
      page.close();
    }
  });

  const shimOf = (run: Run) => {
    const status = readStatus(join(rig.paths.runInstances, run.key.instanceId, "1.1.0"));
    if (status === null) throw new Error("no shim");
    return status;
  };

  test("a shim killed from outside does not leave its container behind", async () => {
    const run = await rig.start(shell("sleep 1000 & exec sleep 1000"));
    process.kill(shimOf(run).shim.pid, "SIGKILL");
    expect(await run.ended).toMatchObject({ reason: "Vanished" });
    await run.release();
  });

  test("a container dies with its shim also when no agent is there to see it", async () => {
    const run = await rig.start(shell("sleep 1000 & exec sleep 1000", { user: "1234" }));
    const { shim, init } = shimOf(run);
    process.kill(shim.pid, "SIGKILL");
    expect(goesWhileWeAreBlocked(init.pid, 5_000)).toBe(true);
    expect(await run.ended).toMatchObject({ reason: "Vanished" });
    await run.release();
  });
});

describe("pause", () => {
  test("stands still and goes on, also through a stop", async () => {
    const run = await rig.start(shell("while true; do echo tick; sleep 0.02; done"));
    await printed(run, "tick");
    await run.pause();
    expect(run.paused).toBe(true);
    const before = run.usage().cpuUsageNs;
    await expect(run.exec({ command: ["true"], tty: false })).rejects.toMatchObject({ code: "STATE_CONFLICT" });
    expect(run.usage().cpuUsageNs).toBe(before);
    await run.resume();
    const lines = (await rig.output(run)).length;
    await expect.poll(async () => (await rig.output(run)).length, { timeout: 30_000 }).toBeGreaterThan(lines);
    await run.pause();
    await run.stop(0);
    expect((await run.ended).reason).toBe("StoppedByUser");
  });
});

describe("what stays of an instance", () => {
  test("its writable layer survives a restart; remove takes everything", async () => {
    const assignment = shell("echo again >> /data; cat /data");
    const first = await rig.start(assignment);
    await first.ended;
    await first.release();
    const second = await rig.start(assignment, 1);
    await second.ended;
    expect(await rig.output(second)).toBe("again\nagain\nagain\n");
    expect(await rig.runtime.imagesInUse()).toEqual(new Set([busybox]));
    await second.release();
    expect(await rig.runtime.list()).toEqual([]);
    await rig.runtime.remove(assignment.instanceId);
    await rig.runtime.settled();
    expect(readdirSync(rig.paths.instances)).toEqual([]);
    expect(readdirSync(rig.paths.uidRanges).filter((name) => name.includes("@"))).toEqual([]);
    expect(await rig.runtime.imagesInUse()).toEqual(new Set());
    expect(existsSync(join(rig.paths.runInstances, assignment.instanceId))).toBe(false);
  });

  test("a followed log ends with the run", async () => {
    const run = await rig.start(shell("for i in 1 2 3 4 5; do echo line $i; sleep 0.02; done"));
    const lines: string[] = [];
    const log = rig.runtime.logs(run.key.instanceId, { follow: true }, new AbortController().signal);
    for await (const line of log) lines.push(Buffer.from(line.text).toString());
    expect(lines).toEqual(["line 1", "line 2", "line 3", "line 4", "line 5"]);
  });

  test("logs of many restarts do not pile up", async () => {
    const assignment = shell("echo run");
    for (let attempt = 0; attempt < 14; attempt += 1) {
      const run = await rig.start(assignment, attempt);
      await run.ended;
      await run.release();
    }
    const logs = () => readdirSync(join(rig.paths.instances, assignment.instanceId, "logs")).length;
    await expect.poll(logs, { timeout: 30_000 }).toBeLessThanOrEqual(10);
    await rig.runtime.remove(assignment.instanceId);
  });
});
