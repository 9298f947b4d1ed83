import { expect, test } from "vitest";
import type { Assignment, Resources } from "@bulkhead/contracts";
import { costOf, demandOf } from "@bulkhead/placement";
import { qemuEngine } from "./engine/qemu.ts";
import { cpusOf, monitorAssignment } from "./machine-size.ts";

const engine = qemuEngine("/nowhere");
const { overheadBytes, overheadBytesPerMib, emulatorMillis } = engine.overhead;
const mebibyte = 2 ** 20;

const monitorOf = (resources: Resources): Resources => {
  const assignment = { spec: { image: "x", resources }, cpuIds: [] } as unknown as Assignment;
  return monitorAssignment(assignment, engine).spec.resources;
};

test.each([
  [{ cpuMillis: 100 }, 1],
  [{ cpuMillis: 1000 }, 1],
  [{ cpuMillis: 1001 }, 2],
  [{ cpuMillis: 100, cpuLimitMillis: 2500 }, 3],
])("%j is %i processors", (cpu, processors) => {
  expect(cpusOf({ ...cpu, memoryBytes: 128 * mebibyte })).toBe(processors);
});

test("a monitor may use what its machine has and what it needs itself, and no more", () => {
  const monitor = monitorOf({ cpuMillis: 100, cpuLimitMillis: 1500, memoryBytes: 128 * mebibyte });
  expect(monitor).toMatchObject({
    cpuMillis: 100 + emulatorMillis,
    cpuLimitMillis: 1500 + emulatorMillis,
    memoryBytes: 128 * (mebibyte + overheadBytesPerMib) + overheadBytes,
  });
});

test.each([128, 129, 4096.5])("what a monitor of %d MiB may use is what placement counted for it", (mib) => {
  const resources = { cpuMillis: 700, memoryBytes: mib * mebibyte };
  const demand = demandOf({ image: "x", isolation: "vm", resources });
  const { cpuMillis, memoryBytes } = costOf(demand, { name: engine.name, ...engine.overhead });
  expect(monitorOf(resources)).toMatchObject({ cpuMillis, memoryBytes });
});

test("a machine with CPUs of its own has no quota, which would stop a processor in the middle of a lock", () => {
  const monitor = monitorOf({ cpuMillis: 2000, cpuPolicy: "dedicated", memoryBytes: 128 * mebibyte });
  expect(monitor.cpuLimitMillis).toBeUndefined();
});
