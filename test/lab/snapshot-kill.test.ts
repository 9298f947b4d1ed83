// Agents that are killed at every step of a snapshot and of a copy's start.
import { expect, test } from "vitest";
import { runOnMachines } from "./machine-tests.ts";

const deadlineMs = 1_800_000;

test("nothing that an agent had begun with a snapshot outlives its end", { timeout: 2 * deadlineMs }, async () => {
  const files = ["apps/vm-node/src/snapshot-kill.system.test.ts"];
  const fates = await runOnMachines({ files, deadlineMs, cpus: 1 });
  expect(Object.values(fates).filter((fate) => fate !== "passed")).toEqual([]);
  expect(Object.keys(fates).length).toBe(12);
});
