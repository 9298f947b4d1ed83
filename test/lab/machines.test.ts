// vm-node's own tests with our own monitor, on a host whose KVM runs unmodified kernels.
import { expect, test } from "vitest";
import { runOnMachines } from "./machine-tests.ts";

/** `npm test` runs the short form: a machine's boot in a lab host takes half a minute. */
const long = process.env["BULKHEAD_LAB_MACHINES"] !== undefined;
/** With BULKHEAD_LAB_WHOLE the whole suite of runtimes. */
const whole = process.env["BULKHEAD_LAB_WHOLE"] !== undefined;

const always = [
  "both streams are logged",
  "a command in the instance has input",
  "a paused run gets no CPU time",
  "a kernel that panics",
  "copies of a machine go on as others",
];
const chosen = long ? [...always, "a machine has the processors", "a machine under load"] : always;
const deadlineMs = whole ? 3_600_000 : 900_000;

test("machines of our own monitor do what the runtime's suite promises", { timeout: 2 * deadlineMs }, async () => {
  const fates = await runOnMachines({
    files: ["conformance", "machine", "copies"].map((name) => `apps/vm-node/src/${name}.system.test.ts`),
    // What needs two processors is in machine-places.test.ts.
    titles: whole ? ["^(?!.*(what only our own monitor|only our own monitor makes))"] : chosen,
    deadlineMs,
    // With one processor QEMU never takes turns, at which it may deliver a guest's interrupt twice (README.md).
    cpus: 1,
  });
  expect(Object.values(fates).filter((fate) => fate !== "passed")).toEqual([]);
  expect(Object.keys(fates).length).toBeGreaterThanOrEqual(whole ? 20 : chosen.length);
});
