import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import type { InstanceId } from "@bulkhead/contracts";

const programs: ReadonlySet<string> = new Set(["bulkhead-vmm", "qemu-system-x86"]);

const read = (...path: string[]): string => {
  try {
    return readFileSync(join("/proc", ...path), "utf8");
  } catch {
    return "";
  }
};

const line = (status: string, name: string): string => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "";

export interface SeenMonitor {
  readonly pid: number;
  readonly lockedBytes: number;
  /** io_uring(7): one for each disk */
  readonly rings: number;
  /** NUMA nodes that a mapping of its is bound to, as in `1` (numa_maps(5)) */
  readonly boundTo: string[];
}

const ringsOf = (pid: string): number =>
  readdirSync(join("/proc", pid, "fd")).filter((fd) =>
    readlinkSync(join("/proc", pid, "fd", fd)).includes("[io_uring]"),
  ).length;

/** The monitor of an instance, as the kernel sees it; throws when there is none. */
export const monitorOf = (instanceId: InstanceId): SeenMonitor => {
  const found = readdirSync("/proc").find(
    (pid) => programs.has(read(pid, "comm").trim()) && read(pid, "cgroup").includes(instanceId),
  );
  if (found === undefined) throw new Error(`no monitor of ${instanceId} is running`);
  const lockedBytes = Number.parseInt(line(read(found, "status"), "VmLck"), 10) * 1024;
  const boundTo = Array.from(read(found, "numa_maps").matchAll(/ bind:(\S+) /g), ([, nodes = ""]) => nodes);
  return { pid: Number(found), lockedBytes, rings: ringsOf(found), boundTo };
};

/** Names of a process's threads, and the CPUs that each may run on. */
export const threadsOf = (pid: number): { name: string; cpus: string }[] =>
  readdirSync(join("/proc", String(pid), "task")).map((thread) => {
    const status = read(String(pid), "task", thread, "status");
    return { name: line(status, "Name"), cpus: line(status, "Cpus_allowed_list") };
  });

/** Processes of a cgroup that are programs: threads of the kernel that work for a machine are in its cgroup as well. */
export const programsIn = (cgroup: string): number[] => {
  const pids = readFileSync(join(cgroup, "cgroup.procs"), "utf8").trim().split("\n").map(Number);
  return pids.filter((pid) => existsSync(`/proc/${pid}/exe`));
};
