import { dirname } from "node:path";
import type { Lab } from "./lab.ts";

/** A test that ran in a lab host. */
export interface InnerTest {
  /** in the checkout, as in `test/oci/process.test.ts` */
  readonly file: string;
  /** its own and those of the groups around it, as in `limits > a CPU limit throttles` */
  readonly title: string;
  readonly outcome: "passed" | "failed" | "skipped";
  readonly failures: readonly string[];
}

export interface InnerRun {
  readonly tests: readonly InnerTest[];
  /** what vitest printed last, for what no test tells */
  readonly said: string;
}

export interface InnerOptions {
  readonly files: readonly string[];
  /** regular expression of the tests to run, over groups and title joined by spaces; all without it */
  readonly pattern?: string;
  readonly timeoutMs: number;
  readonly onOutput?: (text: string) => void;
}

/** The part of vitest's JSON report that is read here. */
interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly ancestorTitles: readonly string[];
      readonly title: string;
      readonly status: string;
      readonly failureMessages: readonly string[] | null;
    }[];
  }[];
}

const reportFile = "/tmp/inner-run.json";
const saidCharacters = 8192;

/** Deadlines of tests that pass at once are far off already; these are for a busy machine that emulates another. */
const slowness = "5";

const outcomeOf = (status: string): InnerTest["outcome"] =>
  status === "passed" || status === "failed" ? status : "skipped";

/** A file that could not be loaded, or broke outside its tests, is a failure of its own. */
const testsOf = (report: Report, checkout: string): InnerTest[] =>
  report.testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = name.startsWith(`${checkout}/`) ? name.slice(checkout.length + 1) : name;
    const tests = assertionResults.map(({ ancestorTitles, title, status, failureMessages }): InnerTest => ({
      file,
      title: [...ancestorTitles, title].join(" > "),
      outcome: outcomeOf(status),
      failures: failureMessages ?? [],
    }));
    const broken = status === "failed" && !tests.some(({ outcome }) => outcome === "failed");
    return broken ? [...tests, { file, title: "runs", outcome: "failed", failures: [message] }] : tests;
  });

/**
 * Runs test files of the `system` project in a lab host, all in one process: starting one takes longer than most tests.
 * @throws {Error} when there is no report, with the end of what vitest printed
 */
export const runInside = async (lab: Lab, checkout: string, options: InnerOptions): Promise<InnerRun> => {
  const { code, stdout, stderr } = await lab.run(
    [
      process.execPath,
      "node_modules/vitest/vitest.mjs",
      "run",
      "--project",
      "system",
      "--no-isolate",
      // Node strips the types itself, in half of vite's time.
      "--experimental.viteModuleRunner=false",
      "--reporter=verbose",
      "--reporter=json",
      `--outputFile.json=${reportFile}`,
      ...(options.pattern === undefined ? [] : ["--testNamePattern", options.pattern]),
      ...options.files,
    ],
    {
      timeoutMs: options.timeoutMs,
      cwd: checkout,
      env: {
        PATH: `${dirname(process.execPath)}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
        NO_COLOR: "1",
        BULKHEAD_TEST_SLOWNESS: slowness,
        // What a test needs and does not find is a failure there, whoever runs it.
        CI: "true",
      },
      ...(options.onOutput === undefined ? {} : { onOutput: options.onOutput }),
    },
  );
  const said = (stdout + stderr).slice(-saidCharacters);
  const { code: missing, stdout: text } = await lab.run(["cat", reportFile], { timeoutMs: 60_000 });
  if (missing !== 0) throw new Error(`the tests in the lab host ended with ${code} and no report:\n${said}`);
  return { tests: testsOf(JSON.parse(text) as Report, checkout), said };
};
