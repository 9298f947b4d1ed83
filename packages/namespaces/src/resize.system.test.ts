import { writeFile } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Digest, Resources } from "@bulkhead/contracts";
import type { Run } from "@bulkhead/node";
import { busyboxImage } from "@bulkhead/testkit/images";
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
  expect.poll(() => rig.output(run), { timeout: 10_000, interval: 20 }).toContain(text);

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
  const { paths } = (run as unknown as { cgroup: { paths: Record<string, string> } }).cgroup;
  await writeFile(`${paths["pids"] ?? paths["unified"]}/pids.max`, "77");
  expect(run.checkContract()).toEqual({ held: false, violations: ["pids limit is 77, promised 1024"] });
});
