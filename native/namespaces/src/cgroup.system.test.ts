import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Area, eventually } from "../test/fixture.ts";
import {
  applyResources,
  type CgroupPlacement,
  freeze,
  isAlive,
  killAll,
  NativeError,
  probe,
  readLimits,
  readUsage,
  removeCgroup,
  thaw,
  watchExit,
} from "./index.ts";

const v2 = probe().cgroupMode === "v2";

test("only the limits named change, and a refused change leaves every limit as it was", async () => {
  await using area = new Area();
  await area.start(["sh", "-c", "dd if=/dev/zero of=/dev/shm/kept bs=1M count=7; touch /ready; sleep 1000"]);
  const before = readLimits(area.cgroup);
  applyResources(area.cgroup, { cpu: { quota: 30000, period: 100000 } });
  expect(readLimits(area.cgroup)).toEqual({ ...before, cpuQuotaUs: 30000 });
  applyResources(area.cgroup, { memory: { limit: 128 << 20 }, pids: { limit: 20 } });
  expect(readLimits(area.cgroup)).toMatchObject({ memoryLimitBytes: 128 << 20, pidsMax: 20, cpuQuotaUs: 30000 });
  expect(() => applyResources(area.cgroup, { cpu: { quota: 40000, cpus: "4000" } })).toThrow(NativeError);
  expect(readLimits(area.cgroup)).toMatchObject({ cpuQuotaUs: 30000 });
  expect(() => applyResources(area.cgroup, { memory: { limit: -5 } })).toThrow(/resources\.\/resources\/memory\/limit/);
});

test.skipIf(v2)("shrinking memory below what is held says EBUSY and kills nothing", async () => {
  await using area = new Area();
  const started = await area.start([
    "sh",
    "-c",
    "dd if=/dev/zero of=/dev/shm/kept bs=1M count=7 2>/dev/null; sleep 1000",
  ]);
  // tmpfs pages cannot be reclaimed without swap.
  await eventually(() => readUsage(area.cgroup).memoryBytes > 7 << 20, "7 MiB held");
  const attempt = (): void => applyResources(area.cgroup, { pids: { limit: 33 }, memory: { limit: 4 << 20 } });
  expect(attempt).toThrow(expect.objectContaining({ code: "EBUSY", step: "resources" }));
  expect(readLimits(area.cgroup)).toMatchObject({ memoryLimitBytes: 64 << 20, pidsMax: 60 });
  expect(isAlive(started.init)).toBe(true);
});

test("usage grows with what the container does", async () => {
  await using area = new Area();
  await area.start(
    ["sh", "-c", "dd if=/dev/zero of=/dev/shm/kept bs=1M count=5 2>/dev/null; sleep 1000 & while :; do :; done"],
    (input) => {
      input.spec.linux!.resources = {
        memory: { limit: 64 << 20 },
        pids: { limit: 10 },
      };
    },
  );
  await eventually(
    () => readUsage(area.cgroup).pids === 2 && readUsage(area.cgroup).memoryBytes > 5 << 20,
    "two processes and 5 MiB",
  );
  // A loop under the smallest quota is throttled as soon as it has had its millisecond, however busy the machine is.
  applyResources(area.cgroup, { cpu: { quota: 1000, period: 100000 } });
  await eventually(() => readUsage(area.cgroup).throttledNs > 0, "throttled");
  const usage = readUsage(area.cgroup);
  expect(usage.cpuUsageNs).toBeGreaterThan(1e6);
  expect(usage.throttledPeriods).toBeGreaterThan(0);
  expect(usage.memoryPeakBytes).toBeGreaterThanOrEqual(usage.memoryBytes);
});

test("frozen stands still until thawed, by the unified tree or by the v1 freezer alone", async () => {
  await using area = new Area();
  const started = await area.start(["sh", "-c", "while :; do :; done"]);
  const { unified: _unified, ...v1 } = area.cgroup.paths;
  for (const cgroup of v2 ? [area.cgroup] : [area.cgroup, { paths: v1 }]) {
    await freeze(cgroup, 5000);
    const before = cpuTicks(started.init.pid);
    const waited = Date.now() + 100;
    await eventually(() => Date.now() > waited, "100 ms");
    expect(cpuTicks(started.init.pid)).toBe(before);
    thaw(cgroup);
    await eventually(() => cpuTicks(started.init.pid) > before, "running again");
  }
});

test.skipIf(v2)("everything is killed without cgroup.kill too, frozen or not", async () => {
  await using area = new Area();
  const started = await area.start(["sh", "-c", "for i in 1 2 3 4 5; do sleep 1000 & done; trap '' TERM; wait"]);
  await eventually(() => readUsage(area.cgroup).pids === 6, "six processes");
  const { unified: _unified, ...v1 } = area.cgroup.paths;
  await freeze(area.cgroup, 5000);
  thaw(area.cgroup);
  killAll({ paths: v1 });
  await watchExit(started.shim).exited;
  expect(await area.ended(started)).toMatchObject({ signal: 9 });
});

test("removal takes nested cgroups with it, waits for the last process, and tolerates what is gone", async () => {
  await using area = new Area();
  const started = await area.start(["sleep", "1000"]);
  for (const path of Object.values(area.cgroup.paths)) {
    mkdirSync(join(path, "nested"));
    mkdirSync(join(path, "nested/deeper"));
  }
  const removed = removeCgroup(area.cgroup);
  killAll(area.cgroup);
  await removed;
  expect(area.cgroupsLeft()).toEqual([]);
  await removeCgroup(area.cgroup);
  killAll(area.cgroup);
  await watchExit(started.shim).exited;
});

test("removal of a cgroup that stays in use is EBUSY after its deadline", async () => {
  await using area = new Area();
  await area.start(["sleep", "1000"]);
  await expect(removeCgroup(area.cgroup)).rejects.toMatchObject({ code: "EBUSY" });
}, 15_000);

test("directories that are missing on the way are made inside a hierarchy, and only there", async () => {
  await using area = new Area();
  const deeper: CgroupPlacement = {
    paths: Object.fromEntries(Object.entries(area.cgroup.paths).map(([name, path]) => [name, join(path, "a/b")])),
  };
  const started = await area.start(["true"], (input) => void (input.cgroup = deeper));
  await area.ended(started);
  for (const path of Object.values(deeper.paths)) expect(existsSync(path)).toBe(true);
  await removeCgroup(deeper);
});

test("probe names what is mounted", () => {
  const features = probe();
  expect(features).toMatchObject({ idmappedMounts: true, userNamespaces: true, seccomp: true, problems: [] });
  for (const mount of Object.values(features.cgroupMounts)) expect(existsSync(join(mount, "cgroup.procs"))).toBe(true);
});

/** CPU time in clock ticks: fields 14 and 15 of /proc/PID/stat. */
function cpuTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return Number(fields[11]) + Number(fields[12]);
}
