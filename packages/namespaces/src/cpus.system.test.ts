import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Digest } from "@bulkhead/contracts";
import { parseCpuList, usableCpus } from "@bulkhead/host";
import type { Run } from "@bulkhead/node";
import { busyboxImage } from "@bulkhead/testkit/images";
import type { ContainerRun } from "./run.ts";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;
const online = usableCpus();
const own = online[0] ?? 0;
const rest = online.slice(1);

beforeAll(async () => {
  rig = await Rig.open();
  busybox = await rig.image(await busyboxImage());
});
afterEach(() => rig.clear());
afterAll(() => rig[Symbol.asyncDispose]());

const shared = () => rig.assignment(busybox, { command: ["sleep", "1000"] });
const dedicated = (cpuIds: number[]) =>
  rig.assignment(busybox, {
    command: ["sleep", "1000"],
    resources: { cpuMillis: 1000 * cpuIds.length, cpuPolicy: "dedicated" },
    cpuIds,
  });
const allowed = (run: Run): number[] =>
  parseCpuList(/^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync(`/proc/${rig.pidOf(run)}/status`, "utf8"))?.[1] ?? "");

test.runIf(online.length > 1)("a dedicated CPU is left by all others and given back at the end", async () => {
  const before = await rig.start(shared());
  expect(allowed(before)).toEqual(online);

  const alone = await rig.start(dedicated([own]));
  expect(allowed(alone)).toEqual([own]);
  expect(allowed(before)).toEqual(rest);
  const after = await rig.start(shared());
  expect(allowed(after)).toEqual(rest);
  for (const run of [before, alone, after]) expect(run.checkContract()).toEqual({ held: true, violations: [] });

  await alone.stop(0);
  await expect.poll(() => [allowed(before), allowed(after)], { timeout: 30_000 }).toEqual([online, online]);
  for (const run of [before, after]) expect(run.checkContract()).toEqual({ held: true, violations: [] });
});

test.runIf(online.length > 1)("a new agent keeps the partition of the instances it adopts", async () => {
  const first = await rig.start(shared());
  const alone = await rig.start(dedicated([own]));
  await (await rig.reopen()).list();
  const second = await rig.start(shared());
  expect([allowed(first), allowed(alone), allowed(second)]).toEqual([rest, [own], rest]);
});

test("a CPU is never promised twice, and never the last one that others share", async () => {
  const failure = (assignment: ReturnType<typeof shared>) =>
    rig.start(assignment).then(
      () => "started",
      ({ reason }: { reason: string }) => reason,
    );
  const running = await rig.start(shared());
  expect(await failure(dedicated([...online]))).toBe("ResourceExhausted");
  expect(await failure(dedicated([9999]))).toBe("ResourceExhausted");
  if (online.length > 1) await rig.start(dedicated([own]));
  expect(await failure(dedicated([own]))).toBe("ResourceExhausted");
  expect(running.checkContract().held).toBe(true);
});

test.runIf(online.length > 1)("how the agent itself was started does not narrow what it starts", async () => {
  const tid = String(process.pid);
  execFileSync("taskset", ["--all-tasks", "--cpu-list", "--pid", String(own), tid]);
  try {
    const run = await rig.start(rig.assignment(busybox, { command: ["sh", "-c", "sleep 1000 & exec sleep 1000"] }));
    expect(allowed(run)).toEqual(online);
    expect(run.checkContract()).toEqual({ held: true, violations: [] });
    const command = ["grep", "Cpus_allowed_list", "/proc/self/status"];
    const { stdout, ended } = await run.exec({ command, tty: false });
    let said = "";
    stdout.on("data", (chunk: Buffer) => (said += chunk.toString()));
    await ended;
    await expect.poll(() => said).toContain("\n");
    expect(parseCpuList(said.split(":")[1]?.trim() ?? "")).toEqual(online);
  } finally {
    execFileSync("taskset", ["--all-tasks", "--cpu-list", "--pid", online.join(","), tid]);
  }
});

test.runIf(online.length > 1)(
  "every thread is looked at: one that may run where it must not breaks the contract",
  async () => {
    const alone = (await rig.start(
      rig.assignment(busybox, {
        command: ["sh", "-c", "sleep 1000 & sleep 1000 & exec sleep 1000"],
        resources: { cpuMillis: 1000, cpuPolicy: "dedicated" },
        cpuIds: [own],
      }),
    )) as ContainerRun;
    await expect.poll(() => alone.usage().pids, { timeout: 30_000 }).toBe(3);
    expect(alone.checkContract()).toEqual({ held: true, violations: [] });
    const directory = alone.cgroup.paths["cpuset"] ?? alone.cgroup.paths["unified"] ?? "";
    const cpuset = join(directory, "cpuset.cpus");
    const pin = (pid: string, cpus: readonly number[]) =>
      execFileSync("taskset", ["--cpu-list", "--pid", cpus.join(","), pid]);
    writeFileSync(cpuset, online.join(","));
    // Before Linux 6.2 a wider cpuset takes all in it along, whatever CPUs they had asked for.
    for (const pid of readFileSync(join(directory, "cgroup.procs"), "utf8").trim().split("\n")) pin(pid, [own]);
    const widened = `its cpuset has CPU ${rest.join(",")}, which it was not given`;
    expect(alone.checkContract()).toEqual({ held: false, violations: [widened] });
    pin(String(rig.pidOf(alone)), online);
    expect(alone.checkContract().violations).toEqual([
      widened,
      `1 of 3 threads may run on CPU ${rest.join(",")}, which it was not given`,
    ]);
    writeFileSync(cpuset, String(rest[0]));
    expect(alone.checkContract().violations).toContain(`its cpuset lacks CPU ${own}, which is its own`);
    writeFileSync(cpuset, String(own));
    expect(alone.checkContract()).toEqual({ held: true, violations: [] });
  },
);

test.runIf(online.length > 1)("a program may pin its own threads", async () => {
  const run = await rig.start(shared());
  execFileSync("taskset", ["--cpu-list", "--pid", String(own), String(rig.pidOf(run))]);
  expect(run.checkContract()).toEqual({ held: true, violations: [] });
});

test.runIf(online.length > 1)("a program that shares too hears when the CPUs beside its own change", async () => {
  const assignment = dedicated([own]);
  const { layers } = await rig.ensured(busybox);
  const program = { root: layers, args: ["/bin/sleep", "1000"], files: [], devices: [], sharesCpus: true };
  const key = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: 0 };
  const keeper = await rig.runtime.confine({ key, assignment, program }, new AbortController().signal);
  const heard: (readonly number[])[] = [];
  keeper.onCpusChanged = () => heard.push(keeper.sharedCpus().cpus);
  const seen = () => [allowed(keeper), keeper.sharedCpus().cpus, keeper.checkContract().violations];
  expect(seen()).toEqual([online, rest, []]);
  const others = await rig.start(dedicated([...rest]));
  expect(seen()).toEqual([[own], [], []]);
  await others.stop(0);
  await expect.poll(seen, { timeout: 30_000 }).toEqual([online, rest, []]);
  await expect.poll(() => heard, { timeout: 30_000 }).toEqual([[], rest]);
  const adopted = (await (await rig.reopen()).list()).find((run) => run.key.instanceId === key.instanceId);
  expect(adopted?.sharedCpus().cpus).toEqual(rest);
});
