import { expect, test } from "vitest";
import { diskOf } from "./block-device.ts";
import { readCapacity, reservedMemoryBytes, totalMemoryBytes, usableCpus } from "./capacity.ts";
import { readCgroups } from "./cgroups.ts";
import { identityLives, ownIdentity, startTicksOf } from "./process.ts";

test("CPUs come from the affinity, memory from the kernel, less the reserve", () => {
  expect(usableCpus("Name:\tx\nCpus_allowed_list:\t0-1,4\n")).toEqual([0, 1, 4]);
  expect(totalMemoryBytes("MemTotal:       24684084 kB\nMemFree: 1 kB\n")).toBe(24_684_084 * 1024);
  expect(reservedMemoryBytes(100 * 2 ** 30)).toBe(5 * 2 ** 30);
  expect(reservedMemoryBytes(2 ** 30)).toBe(256 * 2 ** 20);
  expect(reservedMemoryBytes(2 ** 20)).toBe(2 ** 20);
});

test("this machine's capacity is what this process may use", () => {
  const capacity = readCapacity(readCgroups());
  expect(capacity.cpuCount).toBe(usableCpus().length);
  expect(capacity.cpuMillis).toBeGreaterThan(0);
  expect(capacity.memoryBytes).toBeGreaterThan(0);
  expect(capacity.memoryBytes).toBeLessThan(totalMemoryBytes());
});

test("a pseudo file system has no disk to limit", async () => {
  expect(await diskOf("/proc")).toBeNull();
});

test("a process is known by pid and start time", () => {
  expect(identityLives(ownIdentity())).toBe(true);
  expect(identityLives({ ...ownIdentity(), startTicks: 1 })).toBe(false);
  const stat = `7 (a) b (c) S 1 ${Array.from({ length: 17 }, (_, n) => n).join(" ")} 4242 0`;
  expect(startTicksOf(stat)).toBe(4242);
});
