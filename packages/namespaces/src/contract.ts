import { readFileSync, readlinkSync } from "node:fs";
import type { Resources } from "@bulkhead/contracts";
import { parseCpuList } from "@bulkhead/host";
import { readLimits, type CgroupPlacement, type ProcessRef } from "@bulkhead/native-namespaces";
import type { ContractCheck } from "@bulkhead/node";
import { cpuPeriodUs, defaultPidsMax, quotaOf } from "./resources.ts";

/** The kernel counts memory in pages and rounds limits down to whole ones (x86-64: 4 KiB). */
const pageBytes = 4096;
/** Kernel names of the namespaces every container has of its own (namespaces(7)). */
const ownNamespaces = ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"] as const;

export interface Promised {
  readonly resources: Resources;
  /** CPUs it may use at most */
  readonly cpus: readonly number[];
  readonly dedicated: boolean;
}

const limitViolations = (cgroup: CgroupPlacement, { resources }: Promised): string[] => {
  const limits = readLimits(cgroup);
  const violations: string[] = [];
  const expect = (name: string, actual: number | null, promised: number | null): void => {
    if (actual !== promised)
      violations.push(`${name} is ${actual ?? "unlimited"}, promised ${promised ?? "unlimited"}`);
  };
  expect("memory limit", limits.memoryLimitBytes, Math.floor(resources.memoryBytes / pageBytes) * pageBytes);
  const quota = limits.cpuQuotaUs === null ? null : (limits.cpuQuotaUs * cpuPeriodUs) / limits.cpuPeriodUs;
  expect("cpu quota", quota, resources.cpuLimitMillis === undefined ? null : quotaOf(resources.cpuLimitMillis));
  expect("pids limit", limits.pidsMax, resources.pidsMax ?? defaultPidsMax);
  return violations;
};

const affinityViolations = (pid: number, { cpus, dedicated }: Promised): string[] => {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const allowed = parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? "");
  const outside = allowed.filter((id) => !cpus.includes(id));
  const missing = dedicated ? cpus.filter((id) => !allowed.includes(id)) : [];
  return [
    ...(outside.length === 0 ? [] : [`may run on CPU ${outside.join(",")}, which it was not given`]),
    ...(missing.length === 0 ? [] : [`may not run on CPU ${missing.join(",")}, which is its own`]),
  ];
};

const namespaceViolations = (pid: number): string[] =>
  ownNamespaces
    .filter((type) => readlinkSync(`/proc/${pid}/ns/${type}`) === readlinkSync(`/proc/self/ns/${type}`))
    .map((type) => `shares the host's ${type} namespace`);

/**
 * Reads back from the kernel what an instance was promised: limits from its cgroup, CPUs from its first process's
 * status, namespaces from its links. A process that ends meanwhile has nothing left to hold.
 */
export const checkContract = (cgroup: CgroupPlacement, init: ProcessRef, promised: Promised): ContractCheck => {
  try {
    const violations = [
      ...limitViolations(cgroup, promised),
      ...affinityViolations(init.pid, promised),
      ...namespaceViolations(init.pid),
    ];
    return { held: violations.length === 0, violations };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT" || code === "ESRCH") return { held: true, violations: [] };
    throw error;
  }
};
