import { expect, test } from "vitest";
import { parseHostUsage, readHostUsage, systemClock } from "./index.ts";

test("busy and stolen CPU time and used memory are read from the kernel's own text", () => {
  const stat = "cpu  100 10 50 9000 40 5 5 30 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\nbtime 1\n";
  const meminfo = "MemTotal:       2048 kB\nMemFree:         100 kB\nMemAvailable:   1024 kB\n";
  expect(parseHostUsage(stat, meminfo)).toEqual({
    cpuBusyNs: 1_700_000_000,
    cpuStealNs: 300_000_000,
    memoryTotalBytes: 2_097_152,
    memoryUsedBytes: 1_048_576,
  });
});

test("this machine answers", () => {
  const usage = readHostUsage();
  expect(usage.cpuBusyNs).toBeGreaterThan(0);
  expect(usage.memoryTotalBytes).toBeGreaterThan(usage.memoryUsedBytes);
});

test("the boot clock is not ahead of the kernel's", () => {
  const before = systemClock().boottimeNs();
  expect(before).toBeGreaterThan(0n);
  expect(systemClock().boottimeNs()).toBeGreaterThanOrEqual(before);
});
