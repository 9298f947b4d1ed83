import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Assignment, Digest } from "@bulkhead/contracts";
import { cgroupOfRun } from "@bulkhead/host";
import type { Run } from "@bulkhead/node";
import { busyboxImage } from "@bulkhead/testkit/images";
import { runPaths } from "./instance-paths.ts";
import type { AgentOrder } from "./testing/agent-process.ts";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
afterEach(async () => {
  await rig.clear();
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

const shell = (script: string): Assignment => rig.assignment(busybox, { command: ["sh", "-c", script] });
const recordOf = (assignment: Assignment): string =>
  runPaths(rig.paths, { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: 0 }).record;

/** Starts the assignments in another process and kills it with -9. */
const startedByAKilledAgent = async (assignments: readonly Assignment[]): Promise<void> => {
  const agent = spawn(process.execPath, [join(import.meta.dirname, "testing/agent-process.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const order: AgentOrder = { paths: rig.paths, image: await rig.ensured(busybox), assignments };
  agent.stdin.write(`${JSON.stringify(order)}\n`);
  let started = 0;
  for await (const _ of createInterface({ input: agent.stdout })) {
    started += 1;
    if (started === assignments.length) break;
  }
  if (started < assignments.length) throw new Error(`the agent ended after ${started} starts`);
  const exited = once(agent, "exit");
  agent.kill("SIGKILL");
  await exited;
};

test("instances outlive a killed agent; the next one adopts them as they are", async () => {
  const assignment = shell("while true; do echo tick; sleep 0.02; done");
  await startedByAKilledAgent([assignment]);
  const runs = await (await rig.reopen()).list();
  expect(runs.map(({ key, assignment }) => ({ key, assignment }))).toEqual([
    { key: { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: 0 }, assignment },
  ]);
  const run = runs[0] as Run;
  const before = (await rig.output(run)).length;
  await expect.poll(async () => (await rig.output(run)).length, { timeout: 30_000 }).toBeGreaterThan(before);
  expect(run.checkContract()).toEqual({ held: true, violations: [] });
  expect(await run.resize({ cpuMillis: 200, memoryBytes: 32 * 2 ** 20 })).toEqual({ outcome: "applied" });
  const session = await run.exec({ command: ["echo", "inside"], tty: false });
  expect((await session.ended).exitCode).toBe(0);
  session.close();
  await run.stop(0);
  expect((await run.ended).reason).toBe("StoppedByUser");
});

test("what ended while no agent was there is known by its exit code and log", async () => {
  const assignments = [shell("sleep 0.1; echo done; exit 42"), shell("sleep 0.1; kill -9 $$")];
  await startedByAKilledAgent(assignments);
  const ended = (assignment: Assignment) =>
    expect
      .poll(() => existsSync(join(rig.paths.runInstances, assignment.instanceId, "1.1.0", "exit")), { timeout: 30_000 })
      .toBe(true);
  for (const assignment of assignments) await ended(assignment);
  const runs = await (await rig.reopen()).list();
  const byId = new Map(runs.map((run) => [run.key.instanceId, run]));
  const [first, second] = assignments.map(({ instanceId }) => byId.get(instanceId));
  expect(await first?.ended).toMatchObject({ reason: "Exited", exit: { exitCode: 42 } });
  expect(await second?.ended).toMatchObject({ exit: { signal: null, exitCode: expect.any(Number) } });
  expect(first === undefined ? "" : await rig.output(first)).toBe("done\n");
});

test("a list lists the runs it knows as the same objects", async () => {
  const run = await rig.start(shell("exec sleep 1000"));
  expect(await rig.runtime.list()).toEqual([run]);
  expect((await rig.runtime.list())[0]).toBe(run);
});

test("a paused instance is adopted as paused, a resized one with its new limits", async () => {
  const run = await rig.start(shell("exec sleep 1000"));
  await run.resize({ cpuMillis: 300, memoryBytes: 96 * 2 ** 20 });
  await run.pause();
  const [adopted] = await (await rig.reopen()).list();
  expect(adopted?.paused).toBe(true);
  expect(adopted?.assignment.spec.resources.memoryBytes).toBe(96 * 2 ** 20);
  await adopted?.resume();
  expect(adopted?.checkContract()).toEqual({ held: true, violations: [] });
});

test("a stop that an agent began and did not finish is still the reason", async () => {
  const run = await rig.start(shell("trap 'sleep 0.2; exit 0' TERM; echo ready; while true; do sleep 0.02; done"));
  await expect.poll(() => rig.output(run), { timeout: 30_000 }).toContain("ready");
  const stopping = run.stop(10_000);
  await expect
    .poll(() => existsSync(join(rig.paths.runInstances, run.key.instanceId, "1.1.0", "stop-wanted")), {
      timeout: 30_000,
    })
    .toBe(true);
  const [adopted] = await (await rig.reopen()).list();
  expect((await adopted?.ended)?.reason).toBe("StoppedByUser");
  await stopping;
});

test("after the machine restarted a run has ended with HostRebooted", async () => {
  const assignment = shell("exec sleep 1000");
  const run = await rig.start(assignment);
  await expect.poll(() => existsSync(recordOf(assignment)), { timeout: 30_000 }).toBe(true);
  await run.stop(0);
  const record = JSON.parse(await readFile(recordOf(assignment), "utf8")) as object;
  await writeFile(recordOf(assignment), JSON.stringify({ ...record, bootId: "another" }));
  await rm(join(rig.paths.runInstances, assignment.instanceId), { recursive: true });
  const [adopted] = await (await rig.reopen()).list();
  expect(await adopted?.ended).toMatchObject({ reason: "HostRebooted", exit: { exitCode: null, signal: null } });
});

test("a start that was cut off before the entrypoint ran is undone, whatever it had made", async () => {
  const assignment = shell("exec sleep 1000");
  const run = await rig.start(assignment);
  const init = rig.pidOf(run);
  const directory = join(rig.paths.runInstances, assignment.instanceId, "1.1.0");
  // This agent writes it a little later, and no dead one does.
  await expect.poll(() => existsSync(recordOf(assignment)), { timeout: 5_000 }).toBe(true);
  await rm(join(directory, "status"));
  expect(await (await rig.reopen()).list()).toEqual([]);
  await expect.poll(() => existsSync(`/proc/${init}`), { timeout: 30_000 }).toBe(false);
  expect(existsSync(directory)).toBe(false);
  expect(existsSync(recordOf(assignment))).toBe(false);
  expect(rig.warnings.map(({ message }) => message)).toContain("an unfinished start was undone");
});

test("a process whose agent and shim were killed before it had a record is ended, and its cgroups go", async () => {
  const shared = cgroupOfRun(rig.runtime.parents, `${shell("true").instanceId}.1.1.0`, false);
  const dedicated = cgroupOfRun(rig.runtime.parents, `${shell("true").instanceId}.1.2.3`, true);
  const born: ChildProcess[] = [];
  for (const paths of [shared, dedicated]) {
    for (const path of Object.values(paths)) await mkdir(path, { recursive: true });
    const orphan = spawn("sleep", ["1000"]);
    born.push(orphan);
    // As it is born: in all of them, but for the cpuset, which takes nobody before it has CPUs.
    for (const [controller, path] of Object.entries(paths)) {
      if (controller !== "cpuset") await writeFile(join(path, "cgroup.procs"), String(orphan.pid));
    }
  }
  const ended = born.map((orphan) => once(orphan, "exit"));
  const run = await rig.start(shell("exec sleep 1000"));
  expect((await (await rig.reopen()).list()).map(({ key }) => key)).toEqual([run.key]);
  expect(await Promise.all(ended)).toEqual([
    [null, "SIGKILL"],
    [null, "SIGKILL"],
  ]);
  for (const path of [shared, dedicated].flatMap((paths) => Object.values(paths))) expect(existsSync(path)).toBe(false);
  expect(rig.pidOf(run)).toBeGreaterThan(0);
});

test("an agent that died before a run's record was on disk does not lose the run", async () => {
  const assignment = shell("exec sleep 1000");
  const run = await rig.start(assignment);
  await expect.poll(() => existsSync(recordOf(assignment)), { timeout: 30_000 }).toBe(true);
  await rm(recordOf(assignment));
  expect((await (await rig.reopen()).list()).map(({ key }) => key)).toEqual([run.key]);
  expect(existsSync(recordOf(assignment))).toBe(true);
});

test("a run whose record a later release wrote is adopted, and one that cannot be read is not ended", async () => {
  const assignment = shell("exec sleep 1000");
  const run = await rig.start(assignment);
  const pid = rig.pidOf(run);
  const live = join(rig.paths.runInstances, assignment.instanceId, "1.1.0", "record.json");
  const record = JSON.parse(await readFile(live, "utf8")) as { assignment: Assignment };
  const { spec } = record.assignment;
  const later = {
    ...record,
    tomorrow: 1,
    assignment: { ...record.assignment, tomorrow: 1, spec: { ...spec, more: {} } },
  };
  await writeFile(live, JSON.stringify(later));
  expect((await (await rig.reopen()).list()).map(({ key }) => key)).toEqual([run.key]);
  await writeFile(live, JSON.stringify({ ...record, assignment: "elsewhere" }));
  await expect((await rig.reopen()).list()).rejects.toThrow(/record.json is of another release/);
  expect(existsSync(`/proc/${pid}`)).toBe(true);
  await writeFile(live, JSON.stringify(record));
  expect((await (await rig.reopen()).list()).map(({ key }) => key)).toEqual([run.key]);
});

test("a damaged record is left out and a stray directory swept", async () => {
  const assignment = shell("true");
  const run = await rig.start(assignment);
  await run.ended;
  await run.release();
  await mkdir(dirname(recordOf(assignment)), { recursive: true });
  await writeFile(recordOf(assignment), '{"bootId":');
  await writeFile(join(rig.paths.instances, assignment.instanceId, "runs", "1.1.0.json.new"), "half");
  expect(await (await rig.reopen()).list()).toEqual([]);
  expect(existsSync(recordOf(assignment))).toBe(false);
});
