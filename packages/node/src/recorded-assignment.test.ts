import { expect, test } from "vitest";
import { isRecordedAssignment } from "./recorded-assignment.ts";

const recorded = {
  instanceId: "0198c0de-0000-7000-8000-000000000001",
  name: "web-0",
  generation: 1,
  epoch: { era: 1, n: 1 },
  imageDigest: `sha256:${"0".repeat(64)}`,
  spec: { image: "app", isolation: "vm", resources: { cpuMillis: 1000, memoryBytes: 2 ** 28 } },
  cpuIds: [],
};

test("a later release's assignment is one, and what names no run is none", () => {
  const { spec, epoch } = recorded;
  expect(isRecordedAssignment(recorded)).toBe(true);
  expect(isRecordedAssignment({ ...recorded, tomorrow: 1 })).toBe(true);
  expect(isRecordedAssignment({ ...recorded, epoch: { ...epoch, tomorrow: 1 }, spec: { ...spec, tomorrow: {} } })).toBe(
    true,
  );
  expect(isRecordedAssignment({ ...recorded, spec: {} })).toBe(false);
  expect(isRecordedAssignment({ ...recorded, epoch: 7 })).toBe(false);
  expect(isRecordedAssignment({})).toBe(false);
  expect(isRecordedAssignment(null)).toBe(false);
});
