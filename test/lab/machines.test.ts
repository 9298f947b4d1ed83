// vm-node's own tests with our own monitor, on a host whose KVM runs unmodified kernels.
import { expect, test } from "vitest";
import { runOnMachines } from "./machine-tests.ts";

/** With BULKHEAD_LAB_WHOLE the whole suite of runtimes; a boot of a machine in a lab host takes half a minute. */
const whole = process.env["BULKHEAD_LAB_WHOLE"] !== undefined;
const ofTheSuite = ["both streams are logged", "a command in the instance has input"];
const ofMachines = ["a kernel that panics", "a machine has the processors"];
const ofShares = [
  "a container and a machine see each other",
  "what it may only read the host lets",
  "a share that is taken away",
  "a machine's program connects to a container's socket",
  "a container's program connects to a machine's socket",
];
const ofPlaces = ["what only our own monitor"];
const chosen = [...ofTheSuite, ...ofMachines];
const filesOf = (...names: readonly string[]): string[] =>
  names.map((name) => `apps/vm-node/src/${name}.system.test.ts`);
const deadlineMs = whole ? 3_600_000 : 900_000;

test("machines of our own monitor do what the runtime's suite promises", { timeout: 2 * deadlineMs }, async () => {
  const titles = whole ? [`^(?!.*${ofPlaces[0]})`] : chosen;
  // With one processor QEMU never takes turns, at which it may deliver a guest's interrupt twice (README.md).
  const fates = await runOnMachines({
    files: filesOf("conformance", "machine"),
    titles,
    deadlineMs,
    cpus: 1,
  });
  expect(Object.values(fates).filter((fate) => fate !== "passed")).toEqual([]);
  expect(Object.keys(fates).length).toBeGreaterThanOrEqual(whole ? 20 : chosen.length);
});

test("machines of our own monitor share with containers", { timeout: 2 * deadlineMs }, async () => {
  const titles = whole ? {} : { titles: ofShares };
  const fates = await runOnMachines({ files: filesOf("shares", "sockets"), ...titles, deadlineMs, cpus: 1 });
  expect(Object.values(fates).filter((fate) => fate !== "passed")).toEqual([]);
  expect(Object.keys(fates).length).toBeGreaterThanOrEqual(whole ? 16 : ofShares.length + 1);
});

test("a machine has CPUs and memory of its own, as far as its host has them", { timeout: 2 * deadlineMs }, async () => {
  const fates = await runOnMachines({ files: filesOf("machine"), titles: ofPlaces, deadlineMs, cpus: 2 });
  expect(Object.values(fates)).toEqual(["passed"]);
});
