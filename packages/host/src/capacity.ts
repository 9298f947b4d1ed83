import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import type { Capacity } from "@bulkhead/contracts";
import { hierarchyOf, type CgroupLayout } from "./cgroups.ts";
import { parseCpuList } from "./cpu-list.ts";

/** Kept for the kernel, the agents and what else runs on the host: a twentieth, at least 256 MiB. */
export const reservedMemoryBytes = (totalBytes: number): number =>
  Math.min(totalBytes, Math.max(256 * 1024 * 1024, Math.floor(totalBytes / 20)));

/** Instances one agent watches; beyond it the v1 hierarchies' own cost per cgroup dominates. */
export const instancesMax = 4096;

const readOrNull = (path: string): string | null => {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return null;
  }
};

/** CPUs this process may run on: its affinity within its cpuset. */
export const usableCpus = (status: string = readFileSync("/proc/self/status", "utf8")): number[] =>
  parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? "");

/** MemTotal of /proc/meminfo, in bytes. */
export const totalMemoryBytes = (meminfo: string = readFileSync("/proc/meminfo", "utf8")): number =>
  Number(/^MemTotal:\s*(\d+) kB$/m.exec(meminfo)?.[1] ?? 0) * 1024;

const everyLevel = function* (layout: CgroupLayout, controller: string): Generator<string> {
  const hierarchy = hierarchyOf(layout, controller);
  if (hierarchy === undefined) return;
  for (let path = hierarchy.own; path.startsWith(hierarchy.mountPoint); path = dirname(path)) {
    yield path;
    if (path === hierarchy.mountPoint) return;
  }
};

/** Smallest memory limit on this process's own cgroup or one above, in bytes, or null without any. */
export const ownMemoryLimitBytes = (layout: CgroupLayout): number | null => {
  let smallest: number | null = null;
  for (const path of everyLevel(layout, "memory")) {
    const text = readOrNull(`${path}/${layout.mode === "v2" ? "memory.max" : "memory.limit_in_bytes"}`);
    const limit = text === null || text === "max" ? Number.NaN : Number(text);
    if (Number.isFinite(limit) && (smallest === null || limit < smallest)) smallest = limit;
  }
  return smallest;
};

/** Smallest CPU quota on this process's own cgroup or one above, in thousandths of a CPU, or null without any. */
export const ownCpuQuotaMillis = (layout: CgroupLayout): number | null => {
  let smallest: number | null = null;
  for (const path of everyLevel(layout, "cpu")) {
    const [quota, period] =
      layout.mode === "v2"
        ? (readOrNull(`${path}/cpu.max`) ?? "max 100000").split(" ")
        : [readOrNull(`${path}/cpu.cfs_quota_us`), readOrNull(`${path}/cpu.cfs_period_us`)];
    const millis = (Number(quota) * 1000) / Number(period);
    if (Number(quota) > 0 && Number.isFinite(millis) && (smallest === null || millis < smallest)) smallest = millis;
  }
  return smallest === null ? null : Math.floor(smallest);
};

/** What this host can give to instances: what the agent itself may use, less the reserve. */
export const readCapacity = (layout: CgroupLayout): Capacity => {
  const cpuCount = Math.max(1, usableCpus().length);
  const total = totalMemoryBytes();
  const usable = Math.min(total, ownMemoryLimitBytes(layout) ?? total);
  return {
    cpuMillis: Math.min(cpuCount * 1000, ownCpuQuotaMillis(layout) ?? Number.POSITIVE_INFINITY),
    memoryBytes: usable - reservedMemoryBytes(usable),
    cpuCount,
    instancesMax,
  };
};
