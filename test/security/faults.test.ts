// Every system call of a start and of an exec, failing once or being the last of a process: nothing may stay behind and
// the same id must start again. Drawn by a seed here. The whole sweep takes minutes:
//   native/namespaces/build/fault-sweep start|ahead|exec fail|kill --all
import { execFile } from "node:child_process";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { initPath } from "@bulkhead/native-namespaces";
import { expect, test } from "vitest";

const run = promisify(execFile);
const casesPerSweep = 120;

test.each([
  ["start", "fail", "whatever fails with ENOSPC, EMFILE or ENOMEM is undone, and EINTR is invisible"],
  ["start", "kill", "whoever is killed, at whatever call, leaves what the agent can end and remove"],
  ["ahead", "fail", "so is a start whose first process was born before its plan"],
  ["ahead", "kill", "and so with whoever is killed in one"],
  ["exec", "fail", "a failed exec leaves the container as it was"],
  ["exec", "kill", "no process of an exec outlives its shim"],
])("%s, %s: %s", async (subject, kind) => {
  const sweep = join(dirname(initPath), "fault-sweep");
  const seed = Math.floor(Math.random() * 2 ** 31);
  const { stdout, stderr } = await run(sweep, [
    subject,
    kind,
    "--cases",
    String(casesPerSweep),
    "--seed",
    String(seed),
  ]).catch((error: { stdout: string; stderr: string }) => error);
  expect(stderr, `seed ${seed}`).toBe("");
  const summary = JSON.parse(stdout) as { cases: number; hits: number; violations: number };
  expect(summary).toMatchObject({ seed, cases: casesPerSweep, violations: 0 });
  // Some calls are not made in every run, but most are.
  expect(summary.hits).toBeGreaterThan(casesPerSweep / 4);
});
