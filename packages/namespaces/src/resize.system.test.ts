import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Digest, Resources } from "@bulkhead/contracts";
import type { Run } from "@bulkhead/node";
import { busyboxImage } from "@bulkhead/testkit/images";
import { resizeInPlace } from "./resize.ts";
import type { ContainerRun } from "./run.ts";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
afterEach(() => rig.clear());
afterAll(() => rig[Symbol.asyncDispose]());

const mebibyte = 2 ** 20;
const base: Resources = { cpuMillis: 100, memoryBytes: 64 * mebibyte };
const start = (script: string, resources: Resources = base): Promise<Run> =>
  rig.start(rig.assignment(busybox, { command: ["sh", "-c", script], resources }));
const printed = (run: Run, text: string) =>
  expect.poll(() => rig.output(run), { timeout: 30_000, interval: 20 }).toContain(text);

/** A file of the run's cgroup, where its controller is on this host. */
const kernelFile = (run: Run, controller: string, file: string): string => {
  const { paths } = (run as ContainerRun).cgroup;
  return join(paths[rig.runtime.mode === "v2" ? "unified" : controller] ?? "", file);
};
const memoryFile = (run: Run): string =>
  kernelFile(run, "memory", rig.runtime.mode === "v2" ? "memory.max" : "memory.limit_in_bytes");

test("limits grow and shrink while the process runs on, and the contract holds after each", async () => {
  const run = await start("exec sleep 1000");
  const pid = rig.pidOf(run);
  const steps: Resources[] = [
    { cpuMillis: 800, cpuLimitMillis: 500, memoryBytes: 128 * mebibyte, pidsMax: 30 },
    { cpuMillis: 200, cpuLimitMillis: 1500, memoryBytes: 32 * mebibyte, memoryReservationBytes: mebibyte },
    { cpuMillis: 100, memoryBytes: 64 * mebibyte, io: { writeBytesPerSec: 2 ** 20 } },
    base,
  ];
  for (const resources of steps) {
    expect(await run.resize(resources)).toEqual({ outcome: "applied" });
    expect(run.assignment.spec.resources).toEqual(resources);
    expect(run.checkContract()).toEqual({ held: true, violations: [] });
    expect(run.usage().memoryLimitBytes).toBe(resources.memoryBytes);
  }
  expect(rig.pidOf(run)).toBe(pid);
});

test("page cache gives way to a smaller limit", async () => {
  const run = await start("dd if=/dev/zero of=/file bs=1M count=40 2>/dev/null; echo full; exec sleep 1000");
  await printed(run, "full");
  expect(await run.resize({ ...base, memoryBytes: 16 * mebibyte })).toEqual({ outcome: "applied" });
  expect(run.usage().memoryBytes).toBeLessThanOrEqual(16 * mebibyte);
});

test("memory in use is never taken by force: the resize is deferred, the limit as before, nobody killed", async () => {
  const run = await start("dd if=/dev/zero of=/dev/shm/held bs=1M count=30 2>/dev/null; echo full; exec sleep 1000");
  await printed(run, "full");
  const outcome = await run.resize({ ...base, cpuMillis: 900, memoryBytes: 16 * mebibyte });
  expect(outcome).toMatchObject({ outcome: "deferred", detail: expect.stringContaining("nearest feasible") });
  const nearest = Number(/about (\d+)$/.exec("detail" in outcome ? outcome.detail : "")?.[1]);
  expect(nearest).toBeGreaterThan(30 * mebibyte);
  expect(run.usage()).toMatchObject({ memoryLimitBytes: 64 * mebibyte, oomKills: 0 });
  expect(run.assignment.spec.resources).toEqual(base);
  expect(run.checkContract().held).toBe(true);
  expect(await run.resize({ ...base, memoryBytes: nearest })).toEqual({ outcome: "applied" });
});

test("what the host does not have is infeasible and says what it has", async () => {
  const run = await start("exec sleep 1000");
  expect(await run.resize({ ...base, memoryBytes: 2 ** 45 })).toMatchObject({
    outcome: "infeasible",
    detail: expect.stringContaining("nearest feasible"),
  });
  expect(await run.resize({ ...base, cpuMillis: 1_000_000 })).toMatchObject({ outcome: "infeasible" });
  expect(await run.resize({ ...base, cpuPolicy: "dedicated" })).toMatchObject({ outcome: "infeasible" });
  expect(run.checkContract().held).toBe(true);
});

test("resizes at the same time are done one after the other, the last one counts", async () => {
  const run = await start("exec sleep 1000");
  const outcomes = await Promise.all(
    [200, 300, 400].map((cpuMillis) => run.resize({ cpuMillis, memoryBytes: cpuMillis * mebibyte })),
  );
  expect(outcomes).toEqual([200, 300, 400].map(() => ({ outcome: "applied" })));
  expect(run.usage().memoryLimitBytes).toBe(400 * mebibyte);
});

test("a limit changed behind our back is a broken contract", async () => {
  const run = await start("exec sleep 1000");
  await writeFile(kernelFile(run, "pids", "pids.max"), "77");
  expect(run.checkContract()).toEqual({ held: false, violations: ["pids limit is 77, promised 1024"] });
});

describe("a shrink never kills", () => {
  /** Holds 24 MiB, and goes on to 44 while it is being shrunk. */
  const growing =
    "dd if=/dev/zero of=/dev/shm/held bs=1M count=24 2>/dev/null; echo held; i=24; " +
    "while [ $i -lt 44 ]; do dd if=/dev/zero bs=1M count=1 2>/dev/null >> /dev/shm/held; i=$((i+1)); done; " +
    "echo grown; exec sleep 1000";

  test.for([8, 16, 20])("what holds 24 MiB and grows is not shrunk to %i", async (mib) => {
    const run = await start(growing);
    await printed(run, "held");
    expect(await run.resize({ ...base, memoryBytes: mib * mebibyte })).toMatchObject({ outcome: "deferred" });
    await printed(run, "grown");
    expect(run.usage()).toMatchObject({ memoryLimitBytes: base.memoryBytes, oomKills: 0 });
    expect(run.checkContract()).toEqual({ held: true, violations: [] });
  });

  test("a new limit that was reached is one: beyond it the kernel kills again", async () => {
    const small = await start(
      "sleep 0.3; dd if=/dev/zero of=/dev/shm/held bs=1M count=30 2>/dev/null; exec sleep 1000",
    );
    expect(await small.resize({ ...base, memoryBytes: 16 * mebibyte })).toEqual({ outcome: "applied" });
    await expect.poll(() => small.usage().oomKills, { timeout: 30_000 }).toBeGreaterThan(0);
  });

  test("who is paused stays so through a shrink", async () => {
    const run = await start("while true; do echo tick; sleep 0.02; done");
    await printed(run, "tick");
    await run.pause();
    const before = run.usage().cpuUsageNs;
    expect(await run.resize({ ...base, memoryBytes: 32 * mebibyte })).toEqual({ outcome: "applied" });
    expect(run.paused).toBe(true);
    expect(run.usage().cpuUsageNs).toBe(before);
    await run.resume();
    await expect.poll(() => run.usage().cpuUsageNs, { timeout: 30_000 }).toBeGreaterThan(before);
  });

  test("an agent that dies in the middle leaves nothing that the next does not take back", async () => {
    const run = await start("exec sleep 1000");
    const [file, half, whole] =
      rig.runtime.mode === "v2"
        ? ["memory.high", String(40 * mebibyte), "max"]
        : ["memory.oom_control", "1", "oom_kill_disable 0"];
    await writeFile(memoryFile(run), String(48 * mebibyte));
    await writeFile(kernelFile(run, "memory", file), half);
    await (await rig.reopen()).list();
    expect(readFileSync(memoryFile(run), "utf8").trim()).toBe(String(base.memoryBytes));
    expect(readFileSync(kernelFile(run, "memory", file), "utf8").split("\n")[0]).toBe(whole);
  });
});

test("either everything applies or nothing: a limit the kernel refuses takes the others back", async () => {
  const run = (await start("exec sleep 1000")) as ContainerRun;
  const wanted: Resources = { ...base, cpuMillis: 700, cpuLimitMillis: 900, memoryBytes: 32 * mebibyte, pidsMax: 40 };
  const change = resizeInPlace({
    cgroup: run.cgroup,
    mode: rig.runtime.mode,
    paused: false,
    current: base,
    wanted: { ...wanted, io: { writeBytesPerSec: mebibyte } },
    // No such disk.
    enforcement: { ...rig.runtime.enforcement, disk: { major: 4000, minor: 4000 } },
    capacity: rig.runtime.capacity(),
  });
  await expect(change).rejects.toThrow(/ENODEV/);
  expect(run.usage().memoryLimitBytes).toBe(base.memoryBytes);
  expect(run.checkContract()).toEqual({ held: true, violations: [] });
});

test("a weight that no scheduler of the disk knows is infeasible, not an error", async () => {
  const run = await start("exec sleep 1000");
  const outcome = await run.resize({ ...base, io: { weight: 200 } });
  expect(outcome.outcome).toBe(rig.runtime.enforcement.ioWeight ? "applied" : "infeasible");
});
