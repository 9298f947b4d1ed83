import { existsSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Engine } from "./engine.ts";
import { eventually, execute, runtimePath } from "./runtime.ts";

let podman: Engine;

beforeAll(async () => {
  podman = await Engine.open("podman");
});
afterAll(async () => {
  await podman[Symbol.asyncDispose]();
});

const run = (...options: string[]): string[] => [
  "run",
  "--network",
  "none",
  "--cgroup-parent",
  `/${podman.cgroup}`,
  ...options,
];
const inspect = async (name: string, format: string): Promise<string> =>
  (await podman.mustDo("inspect", "--format", format, name)).trim();
/** podman answers pause, kill and the like before its own record follows. */
const becomes = (name: string, wanted: string): Promise<unknown> =>
  eventually(`${name} is ${wanted}`, async () => (await inspect(name, "{{.State.Status}}")) === wanted || undefined);

test("runs to the end with output, status, input, environment, user and directory", async () => {
  const ran = await podman.do(run("--rm", "busybox", "sh", "-c", "echo out; echo err >&2; exit 7"));
  expect(ran).toMatchObject({ status: 7, stdout: "out\n", stderr: "err\n" });
  const set = run("--rm", "-i", "-e", "A=b", "-w", "/tmp", "--user", "ann", "--hostname", "box", "busybox");
  const shown = await podman.do(
    [...set, "sh", "-c", "cat; echo $A; pwd; id -u; cat /proc/sys/kernel/hostname"],
    "in\n",
  );
  expect(shown).toMatchObject({ status: 0, stdout: "in\nb\n/tmp\n700\nbox\n" });
});

test("maps a program that cannot run to podman's own statuses", async () => {
  const missing = await podman.do(run("--rm", "busybox", "nothere"));
  expect(missing).toMatchObject({ status: 127, stderr: expect.stringContaining("not found") });
  const plain = await podman.do(run("--rm", "busybox", "/etc/passwd"));
  expect(plain).toMatchObject({ status: 126, stderr: expect.stringMatching(/permission denied/i) });
  expect((await podman.mustDo("ps", "--all", "--quiet")).trim()).toBe("");
});

test("a terminal is one, with a size", async () => {
  // podman wants a terminal of its own for -t to be worth something; script(1) gives it one.
  const { stdout } = await podman.do(
    run("--rm", "-t", "busybox", "sh", "-c", "tty; test -t 0 && echo yes; ls -l /dev/console"),
  );
  expect(stdout.replaceAll("\r", "")).toMatch(/^\/dev\/pts\/0\nyes\ncrw/);
});

test("a detached container: exec, logs, pause, update, stop, remove", async () => {
  await podman.mustDo(
    ...run(
      "-d",
      "--name",
      "one",
      "busybox",
      "sh",
      "-c",
      "trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done",
    ),
  );
  await eventually("its log", async () => (await podman.mustDo("logs", "one")) === "up\n" || undefined);
  expect(await podman.do(["exec", "-i", "-e", "X=1", "one", "sh", "-c", "cat; echo $X; exit 9"], "in\n")).toMatchObject(
    { status: 9, stdout: "in\n1\n" },
  );
  expect((await podman.mustDo("exec", "-t", "one", "tty")).trim()).toBe("/dev/pts/0");
  expect((await podman.do(["exec", "one", "nothere"])).status).toBe(127);
  expect(await podman.mustDo("top", "one", "pid", "comm")).toContain("sh");

  await podman.mustDo("pause", "one");
  expect(await inspect("one", "{{.State.Status}}")).toBe("paused");
  expect((await podman.do(["exec", "one", "true"])).status).not.toBe(0);
  await podman.mustDo("unpause", "one");
  expect(await inspect("one", "{{.State.Status}}")).toBe("running");

  await podman.mustDo("stop", "--time", "10", "one");
  await becomes("one", "exited");
  expect(await inspect("one", "{{.State.ExitCode}}")).toBe("0");
  expect(await podman.mustDo("logs", "one")).toBe("up\nbye\n");
  await podman.mustDo("start", "one");
  await podman.mustDo("kill", "--signal", "KILL", "one");
  await becomes("one", "exited");
  expect(await inspect("one", "{{.State.ExitCode}}")).toBe("137");
  await podman.mustDo("rm", "one");
});

test("limits are in force and can be changed while it runs", async () => {
  const id = (
    await podman.mustDo(
      ...run(
        "-d",
        "--name",
        "limited",
        "--memory",
        "64m",
        "--pids-limit",
        "40",
        "--cpus",
        "0.5",
        "busybox",
        "sleep",
        "1000",
      ),
    )
  ).trim();
  const pid = await inspect("limited", "{{.State.Pid}}");
  const directory = (controller: string): string => {
    const line = readFileSync(`/proc/${pid}/cgroup`, "utf8")
      .split("\n")
      .find((row) => row.split(":")[1]?.split(",").includes(controller));
    return line === undefined
      ? `/sys/fs/cgroup${readFileSync(`/proc/${pid}/cgroup`, "utf8").trim().slice(3)}`
      : `/sys/fs/cgroup/${controller}${line.split(":")[2]}`;
  };
  const file = (controller: string, v1: string, v2: string): string => {
    const base = directory(controller);
    return readFileSync(existsSync(`${base}/${v1}`) ? `${base}/${v1}` : `${base}/${v2}`, "utf8").trim();
  };
  expect(file("memory", "memory.limit_in_bytes", "memory.max")).toBe(String(64 << 20));
  expect(file("pids", "pids.max", "pids.max")).toBe("40");
  expect(file("cpu", "cpu.cfs_quota_us", "cpu.max").split(" ")[0]).toBe("50000");
  // podman 4.3 hands these to the runtime's update command.
  await podman.mustDo("update", "--memory", "48m", "--cpus", "0.25", "limited");
  expect(file("memory", "memory.limit_in_bytes", "memory.max")).toBe(String(48 << 20));
  expect(file("cpu", "cpu.cfs_quota_us", "cpu.max").split(" ")[0]).toBe("25000");
  expect(file("pids", "pids.max", "pids.max")).toBe("40");
  expect(await podman.mustDo("stats", "--no-stream", "--no-reset", "--format", "{{.ID}}", "limited")).toContain(
    id.slice(0, 12),
  );
  await podman.mustDo("rm", "--force", "--time", "0", "limited");
});

test("a health check runs in the container", async () => {
  await podman.mustDo(
    ...run(
      "-d",
      "--name",
      "checked",
      "--health-cmd",
      "test -e /tmp/healthy",
      "--health-interval",
      "disable",
      "--health-retries",
      "1",
      "busybox",
      "sleep",
      "1000",
    ),
  );
  expect((await podman.do(["healthcheck", "run", "checked"])).status).toBe(1);
  await podman.mustDo("exec", "checked", "touch", "/tmp/healthy");
  expect((await podman.do(["healthcheck", "run", "checked"])).status).toBe(0);
  expect(await inspect("checked", "{{.State.Health.Status}}")).toBe("healthy");
  await podman.mustDo("rm", "--force", "--time", "0", "checked");
});

test("volumes, capabilities and a user namespace", async () => {
  const script = "cat /v/passwd | wc -l; touch /v/z 2>/dev/null || echo ro; grep CapBnd /proc/self/status";
  const volume = `${podman.rootfs}/etc:/v:ro`;
  const ran = await podman.mustDo(...run("--rm", "--cap-drop", "all", "-v", volume, "busybox", "sh", "-c", script));
  expect(ran.replaceAll(/\s+/g, " ")).toBe("2 ro CapBnd: 0000000000000000 ");
  const mapped = await podman.mustDo(
    ...run(
      "--rm",
      "--uidmap",
      "0:200000:1000",
      "--gidmap",
      "0:200000:1000",
      "busybox",
      "sh",
      "-c",
      "id -u; cat /proc/self/uid_map",
    ),
  );
  expect(mapped.replaceAll(/\s+/g, " ")).toBe("0 0 200000 1000 ");
});

test("a pod's containers share its namespaces", async () => {
  const sleeper = await podman.mustDo("create", "busybox", "sleep", "100000");
  const pause = await podman.mustDo("commit", "--quiet", sleeper.trim(), "pause");
  expect(pause.trim()).toMatch(/^[0-9a-f]{64}$/);
  await podman.mustDo(
    "pod",
    "create",
    "--name",
    "pod",
    "--network",
    "none",
    "--infra-image",
    "localhost/pause",
    "--cgroup-parent",
    `/${podman.cgroup}`,
    "--share",
    "ipc,uts,net",
  );
  for (const name of ["left", "right"])
    await podman.mustDo("run", "-d", "--pod", "pod", "--name", name, "busybox", "sleep", "1000");
  const spaces = async (name: string): Promise<string[]> =>
    (await podman.mustDo("exec", name, "sh", "-c", "for n in net ipc uts mnt pid; do readlink /proc/self/ns/$n; done"))
      .trim()
      .split("\n");
  const [left, right] = [await spaces("left"), await spaces("right")];
  expect(left.slice(0, 3)).toEqual(right.slice(0, 3));
  expect(left[3]).not.toBe(right[3]);
  expect(left[4]).not.toBe(right[4]);
  await podman.mustDo("pod", "pause", "pod");
  expect(await inspect("left", "{{.State.Status}}")).toBe("paused");
  await podman.mustDo("pod", "unpause", "pod");
  await podman.mustDo("pod", "stop", "--time", "0", "pod");
  await podman.mustDo("pod", "rm", "--force", "pod");
  expect((await podman.mustDo("ps", "--all", "--quiet", "--filter", "name=left")).trim()).toBe("");
});

test("podman knows the runtime by its own version", async () => {
  const { stdout } = await execute(runtimePath, ["--version"]);
  expect(stdout).toMatch(/^bulkhead-oci version \d+\.\d+\.\d+\nspec: 1\./);
  expect(await podman.mustDo("info", "--format", "{{.Host.OCIRuntime.Version}}")).toContain("bulkhead-oci version");
});
