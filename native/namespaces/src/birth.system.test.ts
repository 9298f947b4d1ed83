// Containers whose first process is there before their plan.
import { readFileSync, readlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { Area, eventually, forkServers, hostState } from "../test/fixture.ts";
import {
  type BirthInput,
  compilePlan,
  initPath,
  isAlive,
  NativeError,
  type PlanInput,
  PreparedStart,
  readExit,
  readStatus,
  sendSignal,
} from "./index.ts";

const faults = join(dirname(initPath), "bulkhead-init-faults");

/** The birth that an area's plans fit. */
const birthOf = (area: Area, change: Partial<BirthInput> = {}): BirthInput => ({
  namespaces: ["mount", "pid", "network", "ipc", "uts", "user", "cgroup"],
  cgroup: area.cgroup,
  ...change,
});

/** Pid of the process that waits for its plan. */
async function waiting(area: Area): Promise<number> {
  const file = join(Object.values(area.cgroup.paths)[0]!, "cgroup.procs");
  const pids = (): number[] => {
    try {
      return readFileSync(file, "utf8").trim().split("\n").filter(Boolean).map(Number);
    } catch {
      return [];
    }
  };
  await eventually(() => pids().length === 1, "the process is born");
  return pids()[0]!;
}

const gone = (before: readonly string[]): boolean => hostState().children.every((pid) => before.includes(pid));

const plan = (area: Area, args: readonly string[], change?: (input: PlanInput) => void) =>
  compilePlan(area.input(args, change));

test("the process that waited becomes the container, in the namespaces it was born in", async () => {
  await using area = new Area();
  await using prepared = new PreparedStart({ birth: birthOf(area) });
  const pid = await waiting(area);
  const ipcOf = (process: number | "self") => readlinkSync(`/proc/${process}/ns/ipc`);
  // It makes some of them itself, a moment after it was cloned.
  await eventually(() => ipcOf(pid) !== ipcOf("self"), "its namespaces are made");
  const ipc = ipcOf(pid);
  const script = "readlink /proc/self/ns/ipc; hostname; cat /proc/self/uid_map; ls /sys/class/net";
  const started = await prepared.run(plan(area, ["sh", "-c", script]));
  expect(started.init.pid).toBe(pid);
  expect((await area.ended(started)).exitCode).toBe(0);
  expect(area.output("stdout")).toMatch(new RegExp(`^${RegExp.escape(ipc)}\nbox\n\\s+0\\s+268435456\\s+65536\nlo\n$`));
});

test("where process and shim were kept during the start, neither is kept afterwards", async () => {
  await using area = new Area();
  await using prepared = new PreparedStart({ birth: birthOf(area) });
  const started = await prepared.run(plan(area, ["sleep", "1000"]));
  const allowed = (pid: number): string =>
    /^Cpus_allowed_list:\s+(.+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "none";
  // Kept apart they have no CPU in common.
  await expect.poll(() => allowed(started.shim.pid), { timeout: 5_000 }).toBe(allowed(started.init.pid));
  sendSignal(started.init, 9);
  await area.ended(started);
});

test("limits of the plan hold although the process was born without them", async () => {
  await using area = new Area();
  await using prepared = new PreparedStart({ birth: birthOf(area) });
  const started = await prepared.run(plan(area, ["sleep", "1000"]));
  const { paths } = area.cgroup;
  const pids = readFileSync(join(paths["pids"] ?? paths["unified"]!, "pids.max"), "utf8");
  expect(pids).toBe("60\n");
  for (const [controller, path] of Object.entries(paths)) {
    expect({ controller, procs: readFileSync(join(path, "cgroup.procs"), "utf8") }).toEqual({
      controller,
      procs: `${started.init.pid}\n`,
    });
  }
});

test("one that is given up leaves nothing", async () => {
  await using area = new Area();
  const before = hostState();
  {
    await using prepared = new PreparedStart({ birth: birthOf(area) });
    expect(prepared).toBeDefined();
    await waiting(area);
  }
  await eventually(() => area.cgroupsLeft().length === 0 && gone(before.children), "everything is undone");
  expect(hostState().mounts).toEqual(before.mounts);
});

test("a plan of other namespaces or cgroups than it was born in makes its own, and nothing of the first stays", async () => {
  await using other = new Area();
  const births: Partial<BirthInput>[] = [
    { namespaces: ["mount", "pid", "user"] },
    { cgroup: other.cgroup },
    { cgroup: { paths: { unified: other.cgroup.paths["unified"]! } } },
  ];
  for (const birth of births) {
    await using area = new Area();
    await using prepared = new PreparedStart({ birth: birthOf(area, birth) });
    const started = await prepared.run(plan(area, ["readlink", "/proc/self/ns/ipc"]));
    expect((await area.ended(started)).exitCode).toBe(0);
    expect(area.output("stdout")).not.toBe(`${readlinkSync("/proc/self/ns/ipc")}\n`);
    expect(other.cgroupsLeft()).toEqual([]);
  }
});

test("a start does not notice that the process it had waiting was killed", async () => {
  await using area = new Area();
  await using prepared = new PreparedStart({ birth: birthOf(area) });
  const pid = await waiting(area);
  process.kill(pid, "SIGKILL");
  const dead = (): boolean => readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  await eventually(dead, "the process has ended");
  const started = await prepared.run(plan(area, ["true"]));
  expect(started.init.pid).not.toBe(pid);
  expect((await area.ended(started)).exitCode).toBe(0);
});

test("a birth that the shim cannot make is no failure of the start", async () => {
  for (const faultStep of ["cgroup create", "clone"]) {
    await using area = new Area();
    await using prepared = new PreparedStart({ birth: birthOf(area, { testing: { faultStep } }), initPath: faults });
    const started = await prepared.run(plan(area, ["true"]));
    expect({ faultStep, exit: (await area.ended(started)).exitCode }).toEqual({ faultStep, exit: 0 });
  }
});

test("a process that fails once it is born says where, or ended before its plan came and another took its place", async () => {
  for (const faultStep of ["cgroup join", "network namespace", "loopback"]) {
    await using area = new Area();
    await using prepared = new PreparedStart({ birth: birthOf(area, { testing: { faultStep } }), initPath: faults });
    const outcome = await prepared.run(plan(area, ["true"])).then(
      (started) => area.ended(started),
      ({ step, op }: NativeError) => ({ step, op, cgroups: area.cgroupsLeft() }),
    );
    const fault = { step: faultStep, op: "fault", cgroups: [] };
    expect([expect.objectContaining({ exitCode: 0 }), fault]).toContainEqual(outcome);
  }
});

test("a start that fails after its process was born leaves nothing", async () => {
  await using model = new Area();
  await using traced = new PreparedStart({ birth: birthOf(model) });
  const started = await traced.run(plan(model, ["true"], (input) => void (input.testing = { trace: true })));
  await model.ended(started);
  const steps = [...new Set(started.timings!.map((step) => step.name))].filter((name) => name !== "wait for plan");
  expect(steps.length).toBeGreaterThan(25);
  for (const step of steps) {
    await using area = new Area();
    const before = hostState();
    await using prepared = new PreparedStart({ birth: birthOf(area), initPath: faults });
    const failing = plan(area, ["true"], (input) => void (input.testing = { faultStep: step }));
    const error = await prepared.run(failing).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(NativeError);
    expect(error).toMatchObject({ step, op: "fault", code: "EIO" });
    expect(area.cgroupsLeft()).toEqual([]);
    expect(readStatus(area.runDir)).toBeNull();
    await eventually(() => gone(before.children), "the shim is gone and reaped");
    expect(hostState().mounts).toEqual(before.mounts);
  }
});

test("a fork server that was killed is replaced by the next start, and its containers live on", async () => {
  await using first = new Area();
  const living = await first.start(["sleep", "1000"]);
  const before = forkServers();
  expect(before.length).toBeGreaterThan(0);
  for (const pid of before) process.kill(pid, "SIGKILL");
  // Not before its socket is closed: what is asked of a dying server is lost with it.
  const ended = (pid: number): boolean => readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  await eventually(() => before.every(ended), "the fork server has ended");
  await using second = new Area();
  const started = await second.start(["true"]);
  await started.watchEnd();
  expect(readExit(second.runDir)?.exitCode).toBe(0);
  expect(forkServers().filter((pid) => !before.includes(pid))).toHaveLength(1);
  expect(isAlive(living.shim) && isAlive(living.init)).toBe(true);
});

test("one that a killed fork server had in its hands is asked of the next", async () => {
  await using first = new Area();
  expect((await first.run(["true"])).exit.exitCode).toBe(0);
  const servers = forkServers();
  await using area = new Area();
  for (const pid of servers) process.kill(pid, "SIGSTOP");
  await using prepared = new PreparedStart({ birth: birthOf(area) });
  for (const pid of servers) process.kill(pid, "SIGKILL");
  await area.ended(await prepared.run(plan(area, ["sh", "-c", "exit 5"])));
  expect(readExit(area.runDir)?.exitCode).toBe(5);
  expect(forkServers().filter((pid) => !servers.includes(pid))).toHaveLength(1);
});
