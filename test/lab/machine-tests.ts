// Test files of vm-node, run in a lab host with our own monitor.
import { dirname, join, resolve } from "node:path";
import { GuestKernels } from "@bulkhead/kvm";
import { busyboxImage, nginxImage, redisImage } from "@bulkhead/testkit/images";
import { Lab } from "./lab.ts";

const checkout = resolve(import.meta.dirname, "../..");

/** What is run inside. */
export interface InnerTests {
  readonly files: readonly string[];
  /** parts of their titles; all without */
  readonly titles?: readonly string[];
  readonly deadlineMs: number;
  /** processors of the lab host; default 4 */
  readonly cpus?: number;
  /** each in a NUMA node of its own */
  readonly apart?: boolean;
}

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
const runInside = async (lab: Lab, { files, titles, deadlineMs }: InnerTests): Promise<Record<string, string>> => {
  const report = "/tmp/machines.json";
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
      // What is shown of a run that takes too long.
      "--reporter=verbose",
      "--reporter=json",
      `--outputFile.json=${report}`,
      `--testTimeout=${deadlineMs}`,
      `--hookTimeout=${deadlineMs}`,
      ...(titles === undefined ? [] : ["--testNamePattern", titles.join("|")]),
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

/** Boots a lab host whose KVM runs unmodified kernels, and runs them there. */
export const runOnMachines = async (tests: InnerTests): Promise<Record<string, string>> => {
  // The lab host cannot download; it finds all of it in the cache.
  for (const build of [busyboxImage, nginxImage, redisImage]) await build();
  await new GuestKernels(join(checkout, "node_modules/.cache/bulkhead-guest-kernels")).current();
  const { cpus = 4, apart = false } = tests;
  const memoryMib = 4096;
  const numa = apart
    ? Array.from({ length: cpus }, (_, cpu) => ({ cpus: String(cpu), memoryMib: memoryMib / cpus }))
    : [];
  const processors = apart ? { sockets: cpus, coresPerSocket: 1 } : { coresPerSocket: cpus };
  const modprobe = ["kvm_amd", "loop", "tun"];
  await using lab = await Lab.boot({ modprobe, memoryMib, numa, inTurns: true, ...processors });
  return await runInside(lab, tests);
};
