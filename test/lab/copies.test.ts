// Snapshots of machines of our own monitor, and what goes on from them.
import { expect, test } from "vitest";
import { runOnMachines } from "./machine-tests.ts";

const deadlineMs = 1_200_000;
const copies = "copies of a machine go on as others with our own monitor, and are refused by another engine";

test("a machine is taken to files, and copies of it go on as others", { timeout: 2 * deadlineMs }, async () => {
  const files = ["apps/vm-node/src/copies.system.test.ts"];
  // With one processor QEMU never takes turns, at which it may deliver a guest's interrupt twice (README.md).
  expect(await runOnMachines({ files, deadlineMs, cpus: 1 })).toEqual({ [copies]: "passed" });
});
