// vm-node's own tests with our own monitor, on a host whose KVM runs unmodified kernels.
import { dirname, join, resolve } from "node:path";
import { GuestKernels } from "@bulkhead/kvm";
import { busyboxImage } from "@bulkhead/testkit/images";
import { expect, test } from "vitest";
import { Lab } from "./lab.ts";

const checkout = resolve(import.meta.dirname, "../..");

/** With BULKHEAD_LAB_WHOLE the whole suite of runtimes; a boot of a machine in a lab host takes half a minute. */
const whole = process.env["BULKHEAD_LAB_WHOLE"] !== undefined;
const ofTheSuite = ["both streams are logged", "a command in the instance has input"];
const ofMachines = ["what only our own monitor", "a kernel that panics", "a machine has the processors"];
const ofShares = ["a container and a machine see each other", "what it may only read the host lets"];
const files = ["conformance", "machine", "shares"].map((name) => `apps/vm-node/src/${name}.system.test.ts`);
const deadlineMs = whole ? 3_600_000 : 900_000;

interface Report {
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly {
      readonly title: string;
      readonly status: string;
      readonly failureMessages: readonly string[] | null;
    }[];
  }[];
}

/** What became of each test, by its title: `passed`, or what it failed with; those that were not asked for are left out. */
const runInside = async (lab: Lab): Promise<Record<string, string>> => {
  const report = "/tmp/machines.json";
  const titles = [...ofTheSuite, ...ofMachines, ...ofShares].join("|");
  const { stdout, stderr } = await lab.run(
    [
      process.execPath,
      // V8 compiles beside the program otherwise, and QEMU may translate code that another processor is still writing.
      "--single-threaded",
      "node_modules/vitest/vitest.mjs",
      "run",
      "--project",
      "system",
      "--no-isolate",
      "--execArgv=--single-threaded",
      "--experimental.viteModuleRunner=false",
      "--reporter=json",
      `--outputFile.json=${report}`,
      `--testTimeout=${deadlineMs}`,
      `--hookTimeout=${deadlineMs}`,
      ...(whole ? [] : ["--testNamePattern", titles]),
      ...files,
    ],
    {
      timeoutMs: deadlineMs,
      env: {
        PATH: `${dirname(process.execPath)}:/usr/sbin:/usr/bin:/sbin:/bin`,
        NO_COLOR: "1",
        BULKHEAD_TEST_ENGINE: "kvm",
        BULKHEAD_TEST_SLOWNESS: "5",
      },
    },
  );
  const { code, stdout: text } = await lab.run(["cat", report], { timeoutMs: 60_000 });
  if (code !== 0) throw new Error(`the tests in the lab host left no report:\n${stdout}${stderr}`);
  const results = (JSON.parse(text) as Report).testResults;
  const broken = results.filter(({ message }) => message !== "").map(({ message }) => ["a file", message]);
  const tests = results
    .flatMap(({ assertionResults }) => assertionResults)
    .filter(({ status }) => status !== "skipped");
  if (broken.length + tests.length === 0) throw new Error(`no test ran in the lab host:\n${stdout}${stderr}`);
  const fates = tests.map(({ title, status, failureMessages }) => [
    title,
    status === "passed" ? status : (failureMessages ?? []).join("\n"),
  ]);
  return Object.fromEntries([...broken, ...fates]) as Record<string, string>;
};

test("machines of our own monitor do what the runtime's suite promises", { timeout: 2 * deadlineMs }, async () => {
  // The lab host cannot download; it finds both in the cache.
  await busyboxImage();
  await new GuestKernels(join(checkout, "node_modules/.cache/bulkhead-guest-kernels")).current();
  await using lab = await Lab.boot({ modprobe: ["kvm_amd", "loop"], memoryMib: 4096, inTurns: true });
  const fates = await runInside(lab);
  expect(Object.values(fates).filter((fate) => fate !== "passed")).toEqual([]);
  expect(Object.keys(fates).length).toBeGreaterThanOrEqual(
    whole ? 20 : ofTheSuite.length + ofMachines.length + ofShares.length,
  );
});
