import type { NumberPoint } from "@bulkhead/telemetry";
import { describe, expect, test } from "vitest";
import { batch, hostId, instanceId, sample } from "./testing/batches.ts";
import { usageFamilies } from "./usage-families.ts";
import { usageItem } from "./usage-report.ts";
import { UsageStore } from "./usage-store.ts";
import { windowMs } from "./usage-window.ts";

const open = (limits: { instancesMax?: number; hostsMax?: number } = {}) => {
  const clock = { ms: 1_000_000 };
  const store = new UsageStore({
    intervalMs: 5_000,
    instancesMax: 100,
    hostsMax: 100,
    ...limits,
    nowMs: () => clock.ms,
  });
  const points = (name: string): readonly NumberPoint[] =>
    usageFamilies(store, clock.ms).flatMap((family) =>
      family.metric.name === name && family.shape === "numbers" ? family.points : [],
    );
  const values = (name: string): number[] => points(name).map(({ value }) => value);
  return { clock, store, points, values };
};

describe("instances", () => {
  test("are shown in the catalogue's units with their labels", () => {
    const { store, points } = open();
    store.add(
      batch([sample(7, { cpuUsageNs: 1_500_000_000, ioReadBytes: 10, ioWriteBytes: 20, contractHeld: false })]),
    );
    const labels = { project: "default", workload: "web", instance: "web-7", host: "one", isolation: "container" };
    expect(points("container.cpu.time")).toEqual([{ labels, value: 1.5 }]);
    expect(points("container.disk.io")).toEqual([
      { labels: { ...labels, "disk.io.direction": "read" }, value: 10 },
      { labels: { ...labels, "disk.io.direction": "write" }, value: 20 },
    ]);
    expect(points("bulkhead.instance.contract.held")).toEqual([{ labels, value: 0 }]);
    expect(points("bulkhead.instance.memory.limit")).toEqual([]);
  });

  test("with a disk of their own and with pressure are shown with both", () => {
    const { store, points, values } = open();
    const stalls = { someAvg10Percent: 12.5, someTotalUs: 2_000_000, fullAvg10Percent: 0, fullTotalUs: 1_000_000 };
    const pressure = { cpu: stalls, memory: { ...stalls, someTotalUs: 4_000_000 }, io: stalls };
    store.add(batch([sample(1, { diskUsedBytes: 5, diskLimitBytes: 9, pressure }), sample(2)]));
    expect(values("bulkhead.instance.disk.usage")).toEqual([5]);
    expect(values("bulkhead.instance.disk.limit")).toEqual([9]);
    expect(points("bulkhead.instance.pressure.time")).toHaveLength(6);
    const of = (resource: string, stalled: string, name: string) =>
      points(name).find(({ labels }) => labels["resource"] === resource && labels["stalled"] === stalled)?.value;
    expect(of("memory", "some", "bulkhead.instance.pressure.time")).toBe(4);
    expect(of("cpu", "full", "bulkhead.instance.pressure.time")).toBe(1);
    expect(of("io", "some", "bulkhead.instance.pressure")).toBe(12.5);
    // It was started anew.
    store.add(
      batch([sample(1, { pressure: { ...pressure, memory: { ...stalls, someTotalUs: 500_000 } } }), sample(2)]),
    );
    expect(of("memory", "some", "bulkhead.instance.pressure.time")).toBe(4.5);
  });

  test("whose pressure or disk no kernel gives are not taken over", () => {
    const { store, values } = open();
    const stalls = { someAvg10Percent: 101, someTotalUs: 0, fullAvg10Percent: 0, fullTotalUs: 0 };
    store.add(
      batch([sample(1, { pressure: { cpu: stalls, memory: stalls, io: stalls } }), sample(2, { diskUsedBytes: -1 })]),
    );
    expect(values("bulkhead.instance.pids")).toEqual([]);
  });

  test("whose counters start anew go on from where they were", () => {
    const { store, values } = open();
    for (const seconds of [10, 12, 1, 3]) store.add(batch([sample(1, { cpuUsageNs: seconds * 1e9 })]));
    expect(values("container.cpu.time")).toEqual([15]);
  });

  test("that are not reported any more disappear after three missed samples, and return with their totals", () => {
    const { clock, store, values } = open();
    store.add(batch([sample(1, { cpuUsageNs: 4e9 }), sample(2)]));
    for (let missed = 1; missed <= 3; missed += 1) {
      clock.ms += 5_000;
      store.add(batch([sample(2)]));
      expect(values("bulkhead.instance.pids")).toHaveLength(2);
    }
    clock.ms += 5_000;
    store.add(batch([sample(2)]));
    expect(values("bulkhead.instance.pids")).toHaveLength(1);
    store.add(batch([sample(1, { cpuUsageNs: 1e9 }), sample(2)]));
    expect(values("container.cpu.time")).toEqual([5, 0]);
  });

  test("of a host that is silent disappear with it", () => {
    const { clock, store } = open();
    store.add(batch([sample(1)]));
    clock.ms += 17_501;
    expect(usageFamilies(store, clock.ms)).toEqual([]);
  });

  test("are forgotten when the window has passed", () => {
    const { clock, store } = open({ instancesMax: 1 });
    store.add(batch([sample(1)]));
    clock.ms += windowMs + 1;
    store.expire();
    expect(store.recent()).toEqual([]);
    store.add(batch([sample(2)]));
    expect(store.refused).toBe(0);
    expect(store.current()).toHaveLength(1);
  });

  test("with one name have one series: that of the one seen last", () => {
    const { clock, store, points } = open();
    store.add(batch([sample(1, { name: "web-0", pids: 1 })]));
    clock.ms += 1_000;
    store.add(batch([sample(2, { name: "web-0", pids: 2 })]));
    expect(points("bulkhead.instance.pids").map(({ value }) => value)).toEqual([2]);
  });
});

describe("limits", () => {
  test("instances beyond the limit are refused and counted; known ones go on", () => {
    const { store, values } = open({ instancesMax: 2 });
    store.add(batch([sample(1), sample(2), sample(3), sample(4)]));
    expect([store.refused, values("bulkhead.instance.pids").length]).toEqual([2, 2]);
    store.add(batch([sample(1, { pids: 9 })]));
    expect(values("bulkhead.instance.pids")).toContain(9);
  });

  test("one agent cannot take all the room", () => {
    const { store } = open({ instancesMax: 10_000 });
    store.add(batch(Array.from({ length: 5_000 }, (_value, index) => sample(index))));
    expect([store.current().length, store.refused]).toEqual([4_096, 904]);
  });

  test("hosts beyond the limit are refused", () => {
    const { store } = open({ hostsMax: 1 });
    store.add(batch([sample(1)]));
    store.add(batch([sample(2)], { hostId: hostId(2), hostName: "two" }));
    expect([store.hosts().length, store.refused]).toEqual([1, 1]);
  });

  test.each([
    ["a negative counter", { cpuUsageNs: -1 }],
    ["a number no kernel has", { memoryBytes: 1e300 }],
    ["a negative limit", { memoryLimitBytes: -5 }],
  ])("%s is refused, the others of its message are taken", (_what, values) => {
    const { store } = open();
    store.add(batch([sample(1, values), sample(2)]));
    expect([store.refused, store.current().map(({ instance }) => instance.instanceId)]).toEqual([1, [instanceId(2)]]);
  });
});

describe("hosts", () => {
  test("are measured by one agent at a time, and by the other when that one is silent", () => {
    const { clock, store, values } = open();
    const host = (cpuBusyNs: number) => ({
      cpuBusyNs,
      cpuStealNs: 0,
      memoryUsedBytes: 1,
      memoryTotalBytes: 2,
      instances: 3,
    });
    store.add(batch([], { host: host(100e9) }));
    store.add(batch([], { host: host(99e9), isolation: "vm" }));
    store.add(batch([], { host: host(101e9) }));
    expect(values("bulkhead.host.cpu.busy.time")).toEqual([101]);
    expect(values("bulkhead.host.instances")).toEqual([3, 3]);
    clock.ms += 17_501;
    store.add(batch([], { host: host(120e9), isolation: "vm" }));
    expect(values("bulkhead.host.cpu.busy.time")).toEqual([120]);
    expect(values("bulkhead.host.instances")).toEqual([3]);
  });

  test("cannot speak in another one's name", () => {
    const { store, points } = open();
    store.add(batch([sample(1)]));
    store.add(batch([sample(1)], { hostId: hostId(2), hostName: "one" }));
    const names = points("bulkhead.host.memory.total").map(({ labels }) => labels["host"]);
    expect(names).toEqual(["one", "one-00000002"]);
    expect(points("bulkhead.instance.pids")).toHaveLength(2);
  });

  test("may be renamed", () => {
    const { store, points } = open();
    store.add(batch([sample(1)]));
    store.add(batch([sample(1)], { hostName: "renamed" }));
    expect(points("bulkhead.instance.pids").map(({ labels }) => labels["host"])).toEqual(["renamed"]);
  });

  test("with implausible numbers keep the last plausible ones", () => {
    const { store, values } = open();
    store.add(batch([]));
    store.add(
      batch([], { host: { cpuBusyNs: -1, cpuStealNs: 0, memoryUsedBytes: 7, memoryTotalBytes: 2, instances: 0 } }),
    );
    expect(values("bulkhead.host.memory.used")).toEqual([1]);
  });
});

test("the window shows rates between samples", () => {
  const { clock, store } = open();
  store.add(batch([sample(1, { cpuUsageNs: 1e9, ioReadBytes: 100 })]));
  clock.ms += 5_000;
  store.add(batch([sample(1, { cpuUsageNs: 3.5e9, throttledNs: 1e9, ioReadBytes: 1_100, memoryBytes: 77 })]));
  const [{ instance, hostName } = expect.fail("nothing there")] = store.recent();
  expect(usageItem(instance, hostName, clock.ms)).toMatchObject({
    instanceId: instanceId(1),
    hostName: "one",
    points: [{ cpuMillis: 500, throttledMillis: 200, memoryBytes: 77, ioReadBytesPerSecond: 200, pids: 1 }],
  });
});
