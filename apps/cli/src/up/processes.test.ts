import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { endLeftovers, identityOf, writeProcesses } from "./processes.ts";

const directory = mkdtempSync(join(tmpdir(), "bulkhead-processes-"));
afterAll(() => rmSync(directory, { recursive: true }));

test("what a killed `up` left is ended; a process that only has an old pid is not", async () => {
  const record = join(directory, "processes.json");
  const left = spawn("sleep", ["600"]);
  const innocent = spawn("sleep", ["600"]);
  const identity = identityOf(left.pid ?? 0);
  const other = identityOf(innocent.pid ?? 0);
  if (identity === undefined || other === undefined) throw new Error("sleep does not run");
  await writeProcesses(record, [
    { name: "scheduler", ...identity },
    { name: "metrics", pid: other.pid, startTicks: other.startTicks - 1 },
  ]);
  const ended = once(left, "exit");
  expect(await endLeftovers(record)).toEqual(["scheduler"]);
  expect(await ended).toEqual([null, "SIGKILL"]);
  expect(innocent.exitCode ?? innocent.signalCode).toBeNull();
  expect(await endLeftovers(record)).toEqual([]);
  innocent.kill("SIGKILL");
  await once(innocent, "exit");
});

test("no record, or half of one, means that nothing is left", async () => {
  expect(await endLeftovers(join(directory, "absent.json"))).toEqual([]);
  writeFileSync(join(directory, "half.json"), '[{"na');
  expect(await endLeftovers(join(directory, "half.json"))).toEqual([]);
});

test("a process that has ended has no identity", async () => {
  const child = spawn("true");
  await once(child, "exit");
  expect(identityOf(child.pid ?? 0)).toBeUndefined();
});
