// Starts on a host that answers a system call with an error, whoever calls: a filter of the kernel, over all of a start.
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compileProgram } from "../test/program.ts";

const startOnce = fileURLToPath(new URL("./testing/start-once.ts", import.meta.url));
/** asm/unistd_64.h */
const schedSetaffinity = "203";
const setns = "308";

let directory: string;
let refuse: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "bulkhead-native-"));
  refuse = compileProgram("refuse", directory);
});
afterAll(() => rmSync(directory, { recursive: true }));

/** What came of a start where nobody may make this call. */
const started = async (call: string, ...words: readonly string[]): Promise<unknown> => {
  const command = [call, String(constants.errno.EPERM), process.execPath, startOnce, ...words];
  return JSON.parse((await promisify(execFile)(refuse, command)).stdout);
};

test.each(["now", "ahead"])("a container that may run anywhere starts, its first process born %s", async (way) => {
  const said = expect.stringMatching(/^Cpus_allowed_list:\s+\S+\n$/) as string;
  expect(await started(schedSetaffinity, way)).toEqual({ exitCode: 0, said });
});

test.each(["now", "ahead"])("one that is to have CPUs of its own fails and says why, born %s", async (way) => {
  const refusal = { step: "affinity", op: "sched_setaffinity", code: "EPERM", left: [] };
  expect(await started(schedSetaffinity, way, "0")).toEqual(refusal);
});

test.each(["now", "ahead"])("where no base can be entered a container copies the host's tree, born %s", async (way) => {
  const said = expect.stringMatching(/^Cpus_allowed_list:/) as string;
  expect(await started(setns, way)).toEqual({ exitCode: 0, said });
});
