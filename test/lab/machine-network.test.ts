// Machines of our own monitor in networks: what containers and they are to each other, and Debian's servers.
import { expect, test } from "vitest";
import { runOnMachines } from "./machine-tests.ts";

const deadlineMs = 1_800_000;

test("machines of our own monitor serve the containers of their network", { timeout: 2 * deadlineMs }, async () => {
  const files = ["software", "network"].map((name) => `apps/vm-node/src/${name}.system.test.ts`);
  // With one processor QEMU never takes turns, at which it may deliver a guest's interrupt twice (README.md).
  const fates = await runOnMachines({ files, deadlineMs, cpus: 1 });
  expect(Object.values(fates).filter((fate) => fate !== "passed")).toEqual([]);
  expect(Object.keys(fates).length).toBeGreaterThanOrEqual(9);
});
