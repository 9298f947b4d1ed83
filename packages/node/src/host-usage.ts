import { readFileSync } from "node:fs";
import type { UsageBatch } from "@bulkhead/contracts";

/** Use of the whole host: counters since boot in nanoseconds, gauges in bytes. */
export type HostUsage = Omit<UsageBatch["host"], "instances">;

/** Nanoseconds of one tick of /proc/stat: USER_HZ is 100 on every architecture Linux still has (proc_stat(5)). */
const nsPerTick = 10_000_000;

const field = (meminfo: string, name: string): number =>
  Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(meminfo)?.[1] ?? 0) * 1024;

/** From the text of /proc/stat and /proc/meminfo. */
export const parseHostUsage = (stat: string, meminfo: string): HostUsage => {
  const ticks = (/^cpu +(.*)$/m.exec(stat)?.[1] ?? "").split(" ").map(Number);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = ticks;
  const memoryTotalBytes = field(meminfo, "MemTotal");
  return {
    cpuBusyNs: (user + nice + system + irq + softirq) * nsPerTick,
    cpuStealNs: steal * nsPerTick,
    memoryTotalBytes,
    memoryUsedBytes: Math.max(memoryTotalBytes - field(meminfo, "MemAvailable"), 0),
  };
};

export const readHostUsage = (): HostUsage =>
  parseHostUsage(readFileSync("/proc/stat", "ascii"), readFileSync("/proc/meminfo", "ascii"));
