import { mkdir, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { readMachineRecord, writeMachineRecord } from "./machine-record.ts";
import { machineAssignment } from "./testing/machine-assignment.ts";
import { runPlace } from "./testing/run-place.ts";

const record = {
  assignment: machineAssignment(),
  process: { args: ["true"], env: [], cwd: "/", user: "0:0", stopSignal: 15 },
  engine: "kvm",
};

test("a record is read as it was written, also with what a later release says besides", async () => {
  await using at = await runPlace();
  const path = at.paths.record;
  expect(readMachineRecord(path)).toBeNull();
  await writeMachineRecord(path, record);
  expect(readMachineRecord(path)).toEqual(record);
  const { assignment } = record;
  const later = {
    ...record,
    tomorrow: 1,
    assignment: { ...assignment, tomorrow: 1, spec: { ...assignment.spec, x: {} } },
  };
  await writeFile(path, JSON.stringify(later));
  expect(readMachineRecord(path)).toEqual(later);
});

test("what is no record is none, and a disk that fails is no missing record", async () => {
  await using at = await runPlace();
  const path = at.paths.record;
  for (const text of ["", "{", "null", "{}", JSON.stringify({ ...record, engine: 1 })]) {
    await writeFile(path, text);
    expect(readMachineRecord(path)).toBeNull();
  }
  await mkdir(`${path}.directory`);
  expect(() => readMachineRecord(`${path}.directory`)).toThrow("EISDIR");
});
