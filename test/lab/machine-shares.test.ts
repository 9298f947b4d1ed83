// What machines of our own monitor share with containers of their host.
import { expect, test } from "vitest";
import { runOnMachines } from "./machine-tests.ts";

/** With BULKHEAD_LAB_WHOLE all of it. */
const whole = process.env["BULKHEAD_LAB_WHOLE"] !== undefined;
const chosen = [
  "a container and a machine see each other",
  "what it may only read the host lets",
  "a share that is taken away",
  "a machine's program connects to a container's socket",
  "a container's program connects to a machine's socket",
];
const deadlineMs = whole ? 3_600_000 : 900_000;

test("machines of our own monitor share with containers", { timeout: 2 * deadlineMs }, async () => {
  const files = ["shares", "sockets"].map((name) => `apps/vm-node/src/${name}.system.test.ts`);
  const titles = whole ? {} : { titles: chosen };
  // With one processor QEMU never takes turns, at which it may deliver a guest's interrupt twice (README.md).
  const fates = await runOnMachines({ files, ...titles, deadlineMs, cpus: 1 });
  expect(Object.values(fates).filter((fate) => fate !== "passed")).toEqual([]);
  expect(Object.keys(fates).length).toBeGreaterThanOrEqual(whole ? 16 : chosen.length + 1);
});
