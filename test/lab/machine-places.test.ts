// Which CPUs and which memory machines of our own monitor have, on a host with two processors, each in a NUMA node of its own.
import { expect, test } from "vitest";
import { runOnMachines } from "./machine-tests.ts";

const deadlineMs = 900_000;
const titles = ["what only our own monitor", "only our own monitor makes"];

test("a machine has CPUs and memory of its own, as far as its host has them", { timeout: 2 * deadlineMs }, async () => {
  const files = ["apps/vm-node/src/machine.system.test.ts"];
  const fates = await runOnMachines({ files, titles, deadlineMs, cpus: 2, apart: true });
  expect(Object.values(fates)).toEqual(titles.map(() => "passed"));
});
