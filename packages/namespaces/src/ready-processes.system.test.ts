import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Digest } from "@bulkhead/contracts";
import { cgroupOfRun } from "@bulkhead/host";
import { busyboxImage } from "@bulkhead/testkit/images";
import type { ContainerRun } from "./run.ts";
import type { AgentOrder } from "./testing/agent-process.ts";
import { Rig } from "./testing/rig.ts";

const patience = { timeout: 30_000, interval: 20 };

let rig: Rig;
let busybox: Digest;

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
afterEach(async () => {
  await rig.reopen();
  await rig.clear();
  await rig.refuseLeaks();
});
afterAll(() => rig[Symbol.asyncDispose]());

const shell = (script: string, changes: Parameters<Rig["assignment"]>[1] = {}) =>
  rig.assignment(busybox, { command: ["sh", "-c", script], ...changes });
const filled = (count: number) => expect.poll(() => rig.runtime.ready.count, patience).toBe(count);

/** Cgroups of processes that wait, in the hierarchy that every process is in. */
const readyCgroups = (): string[] => {
  const any = Object.values(cgroupOfRun(rig.runtime.parents, "any", false)).map((path) => dirname(path));
  return any.flatMap((directory) =>
    existsSync(directory) ? readdirSync(directory).filter((name) => name.startsWith("ready-")) : [],
  );
};
const cgroupName = (run: unknown): string => basename(Object.values((run as ContainerRun).cgroup.paths)[0] ?? "");

test("a start takes a process that is ready, in the limits and ids of its own, and another one is made", async () => {
  await rig.reopen({ readyProcesses: 2 });
  await filled(2);
  const script = "id -u; cat /proc/self/uid_map; exec sleep 1000";
  const runs = [await rig.start(shell(script)), await rig.start(shell(script))];
  const names = runs.map(cgroupName);
  expect(names).toEqual([expect.stringMatching(/^ready-/), expect.stringMatching(/^ready-/)]);
  expect(new Set(names).size).toBe(2);
  const maps = runs.map((run) => readFileSync(`/proc/${rig.pidOf(run)}/uid_map`, "utf8"));
  expect(new Set(maps).size).toBe(2);
  for (const run of runs) {
    expect(run.checkContract()).toEqual({ held: true, violations: [] });
    await expect.poll(async () => (await rig.output(run)).split("\n")[0], patience).toBe("0");
    expect(run.usage().memoryBytes).toBeGreaterThan(0);
  }
  await filled(2);
});

test("namespaces of two instances that were ready are theirs alone, and the view says whose each is", async () => {
  await rig.reopen({ readyProcesses: 2 });
  await filled(2);
  const [one, two] = [await rig.start(shell("exec sleep 1000")), await rig.start(shell("exec sleep 1000"))];
  const types = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"] as const;
  const links = [one, two].flatMap((run) => types.map((type) => readlinkSync(`/proc/${rig.pidOf(run)}/ns/${type}`)));
  expect(new Set([...links, ...types.map((type) => readlinkSync(`/proc/self/ns/${type}`))]).size).toBe(
    3 * types.length,
  );
  const view = await (one as ContainerRun).view("kernel");
  expect(view.namespaces.filter(({ own }) => own).map(({ type }) => type)).toEqual(expect.arrayContaining([...types]));
  expect(rig.runtime.cgroupOwners().get(cgroupName(one))).toBe(one.key.instanceId);
});

test("a process that waits is in all of its cgroups but the scheduler's of v1, and in all once it is taken", async () => {
  await rig.reopen({ readyProcesses: 1 });
  await filled(1);
  await expect.poll(() => new Set(readyCgroups()).size, patience).toBe(1);
  const [name = ""] = readyCgroups();
  const members = (): Record<string, number> =>
    Object.fromEntries(
      Object.entries(cgroupOfRun(rig.runtime.parents, name, false)).map(([controller, path]) => [
        controller,
        readFileSync(join(path, "cgroup.procs"), "utf8").split("\n").length - 1,
      ]),
    );
  const every = Object.fromEntries(Object.keys(rig.runtime.parents.paths).map((controller) => [controller, 1]));
  await expect.poll(members, patience).toEqual("cpu" in every ? { ...every, cpu: 0 } : every);
  const run = await rig.start(shell("exec sleep 1000"));
  expect(cgroupName(run)).toBe(name);
  expect(members()).toEqual(every);
});

test("who wants other namespaces, or CPUs of its own, gets none of them", async () => {
  await rig.reopen({ readyProcesses: 1 });
  await filled(1);
  const run = await rig.start(
    shell("exec sleep 1000", { resources: { cpuMillis: 1000, cpuPolicy: "dedicated" }, cpuIds: [0] }),
  );
  expect(cgroupName(run)).not.toMatch(/^ready-/);
  expect(run.checkContract()).toEqual({ held: true, violations: [] });
});

test("one that was killed while it waited is passed over, and nothing of it stays", async () => {
  await rig.reopen({ readyProcesses: 2 });
  await filled(2);
  const unified = cgroupOfRun(rig.runtime.parents, "any", false);
  const directory = dirname(unified["memory"] ?? unified["unified"] ?? "");
  const processes = (): [string, string][] =>
    readdirSync(directory)
      .filter((name) => name.startsWith("ready-"))
      .sort()
      .map((name) => [name, readFileSync(join(directory, name, "cgroup.procs"), "utf8").trim()]);
  await expect.poll(() => processes().filter(([, procs]) => procs !== "").length, patience).toBe(2);
  const [first = "", child = ""] = processes()[0] ?? [];
  const shim = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${child}/status`, "utf8"))?.[1];
  process.kill(Number(shim), "SIGKILL");
  await expect.poll(() => existsSync(`/proc/${child}`), patience).toBe(false);
  expect(await rig.run(shell("echo well"))).toMatchObject({ output: "well\n", exitCode: 0 });
  await expect.poll(() => readyCgroups().includes(first), patience).toBe(false);
  expect(rig.warnings).toEqual([]);
});

test("they go with their agent, also when it is killed, and those it had used run on", async () => {
  const assignment = shell("exec sleep 1000");
  const agent = spawn(process.execPath, [join(import.meta.dirname, "testing/agent-process.ts")], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const order: AgentOrder = {
    paths: rig.paths,
    image: await rig.ensured(busybox),
    assignments: [assignment],
    readyProcesses: 3,
  };
  agent.stdin.write(`${JSON.stringify(order)}\n`);
  await once(agent.stdout, "data");
  await expect.poll(() => new Set(readyCgroups()).size, patience).toBe(4);
  const exited = once(agent, "exit");
  agent.kill("SIGKILL");
  await exited;
  const runtime = await rig.reopen();
  const [run] = await runtime.list();
  expect(run?.key.instanceId).toBe(assignment.instanceId);
  expect(run?.checkContract()).toEqual({ held: true, violations: [] });
  await expect.poll(() => new Set(readyCgroups()), patience).toEqual(new Set([cgroupName(run)]));
});
