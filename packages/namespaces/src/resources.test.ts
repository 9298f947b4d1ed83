import type { Resources } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { parseMemoryStat, unreclaimableBytes } from "./memory-limit.ts";
import { resourceChange } from "./resize.ts";
import { blockWeightOf, ociResources, quotaOf, sharesOf, weightOf } from "./resources.ts";
import { signalName, signalNumber } from "@bulkhead/node";

const disk = { major: 254, minor: 0 };
const enforcement = { disk, ioWeight: true, swap: true };
const base: Resources = { cpuMillis: 500, memoryBytes: 64 * 2 ** 20 };

test("CPU shares, quota and I/O weight are on the kernel's scales", () => {
  expect(sharesOf(1000)).toBe(1024);
  expect(sharesOf(1)).toBe(2);
  expect(sharesOf(10_000_000)).toBe(262_144);
  expect([1, 2, 1024, 262_144, 300_000].map(weightOf)).toEqual([1, 1, 100, 10_000, 10_000]);
  expect(quotaOf(10)).toBe(1000);
  expect(quotaOf(2500)).toBe(250_000);
  expect([blockWeightOf(1), blockWeightOf(10_000)]).toEqual([10, 1000]);
});

test("a plain workload gets shares, a memory limit without swap, and a limit on processes", () => {
  expect(ociResources(base, [], enforcement)).toMatchObject({
    cpu: { shares: 512 },
    memory: { limit: 64 * 2 ** 20, swap: 64 * 2 ** 20 },
    pids: { limit: 1024 },
  });
  expect(ociResources(base, [], enforcement).cpu).toEqual({ shares: 512 });
  expect(ociResources(base, [], { disk, ioWeight: true, swap: false }).memory).toEqual({ limit: 64 * 2 ** 20 });
});

test("every limit that is named is translated", () => {
  const resources: Resources = {
    ...base,
    cpuLimitMillis: 1500,
    memoryReservationBytes: 2 ** 20,
    pidsMax: 7,
    io: { readBytesPerSec: 4096, writeBytesPerSec: 8192, readOpsPerSec: 1, writeOpsPerSec: 2, weight: 100 },
  };
  expect(ociResources(resources, [1, 3, 2], enforcement)).toMatchObject({
    cpu: { quota: 150_000, period: 100_000, cpus: "1-3" },
    memory: { reservation: 2 ** 20 },
    pids: { limit: 7 },
    blockIO: {
      throttleReadBpsDevice: [{ ...disk, rate: 4096 }],
      throttleWriteBpsDevice: [{ ...disk, rate: 8192 }],
      throttleReadIOPSDevice: [{ ...disk, rate: 1 }],
      throttleWriteIOPSDevice: [{ ...disk, rate: 2 }],
    },
  });
});

const change = (current: Resources, wanted: Resources, mode: "v1" | "v2" = "v1") =>
  resourceChange({ current, wanted, mode, enforcement });

test("a resize writes only what differs", () => {
  expect(change(base, base)).toEqual({});
  expect(change(base, { ...base, memoryBytes: 2 ** 30 })).toEqual({});
  expect(change(base, { ...base, cpuMillis: 1000 })).toEqual({ cpu: { shares: 1024 } });
  expect(change(base, { ...base, cpuLimitMillis: 100 })).toEqual({ cpu: { quota: 10_000, period: 100_000 } });
  expect(change(base, { ...base, pidsMax: 1024 })).toEqual({});
});

test("a limit that is no longer named is lifted", () => {
  const limited: Resources = {
    ...base,
    cpuLimitMillis: 100,
    pidsMax: 5,
    memoryReservationBytes: 4096,
    io: { readBytesPerSec: 4096, weight: 500 },
  };
  expect(change(limited, base)).toEqual({
    cpu: { quota: -1, period: 100_000 },
    pids: { limit: 1024 },
    memory: { reservation: -1 },
    blockIO: { weight: 100, throttleReadBpsDevice: [{ ...disk, rate: 0 }] },
  });
  expect(change(limited, base, "v2")).toMatchObject({ unified: { "memory.low": "0" } });
});

test("memory that no reclaim can take is anonymous, locked or the kernel's own", () => {
  const v1 = parseMemoryStat("cache 900\ntotal_active_anon 5\ntotal_inactive_anon 6\ntotal_unevictable 7\n");
  expect(unreclaimableBytes(v1, "hybrid")).toBe(18);
  const v2 = parseMemoryStat("file 900\nactive_anon 5\nkernel_stack 2\npagetables 1\n");
  expect(unreclaimableBytes(v2, "v2")).toBe(8);
});

test("signals are read as image configurations write them", () => {
  expect(["SIGTERM", "term", "15", "SIGRTMIN+3", "RTMIN"].map(signalNumber)).toEqual([15, 15, 15, 37, 34]);
  expect(["", "0", "65", "SIGNOPE", "SIGRTMIN+99"].map(signalNumber)).toEqual([null, null, null, null, null]);
  expect([signalName(9), signalName(35)]).toEqual(["SIGKILL", "signal 35"]);
});
