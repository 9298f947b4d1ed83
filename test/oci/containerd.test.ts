import { mkdirSync, writeFileSync } from "node:fs";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually, execute, type Finished, Place, runtimePath } from "./runtime.ts";

let place: Place;
let daemon: ChildProcess;

const ctr = (...args: string[]): Promise<Finished> =>
  execute("ctr", ["--address", join(place.path, "c.sock"), ...args]);
const must = async (...args: string[]): Promise<string> => {
  const { status, stdout, stderr } = await ctr(...args);
  if (status !== 0) throw new Error(`ctr ${args.join(" ")} ended with ${status}: ${stdout}${stderr}`);
  return stdout;
};
const status = async (id: string): Promise<string | undefined> =>
  (await must("tasks", "list"))
    .split("\n")
    .map((line) => line.split(/\s+/))
    .find(([name]) => name === id)?.[2];

beforeAll(async () => {
  place = new Place();
  const config = join(place.path, "containerd.toml");
  mkdirSync(join(place.path, "c"));
  writeFileSync(
    config,
    [
      "version = 2",
      `root = "${join(place.path, "c/root")}"`,
      `state = "${join(place.path, "c/state")}"`,
      // What needs a network, devices of its own or another snapshotter is not part of this.
      'disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.aufs"]',
      "[grpc]",
      `address = "${join(place.path, "c.sock")}"`,
      "[ttrpc]",
      `address = "${join(place.path, "c.sock.ttrpc")}"`,
      "",
    ].join("\n"),
  );
  daemon = spawn("containerd", ["--config", config, "--log-level", "warn"], { stdio: "ignore" });
  await eventually("containerd answers", async () => (await ctr("version")).status === 0 || undefined);
  await must("images", "import", await busyboxImage());
});

afterAll(async () => {
  for (const id of (await ctr("tasks", "list", "--quiet")).stdout.split("\n").filter(Boolean))
    await ctr("tasks", "delete", "--force", id);
  for (const id of (await ctr("containers", "list", "--quiet")).stdout.split("\n").filter(Boolean))
    await ctr("containers", "delete", id);
  daemon.kill("SIGTERM");
  await once(daemon, "exit");
  await execute("sh", ["-c", `grep -o '${place.path}/[^ ]*' /proc/self/mounts | sort -r | xargs -r umount`]);
  await place[Symbol.asyncDispose]();
});

const image = async (): Promise<string> => (await must("images", "list", "--quiet")).trim().split("\n")[0] ?? "";
const run = async (id: string, options: string[], command: string[]): Promise<string[]> => [
  "run",
  "--runc-binary",
  runtimePath,
  "--cgroup",
  `/${place.cgroup}/${id}`,
  ...options,
  await image(),
  id,
  ...command,
];

test("runs to the end with output and status", async () => {
  const ran = await ctr(...(await run("one", ["--rm", "--env", "A=b"], ["sh", "-c", "echo $A; echo err >&2; exit 5"])));
  expect(ran).toMatchObject({ status: 5, stdout: "b\n", stderr: expect.stringContaining("err\n") });
  expect(await status("one")).toBe(undefined);
});

test("tells what could not be executed", async () => {
  const ran = await ctr(...(await run("two", ["--rm"], ["nothere"])));
  expect(ran.status).not.toBe(0);
  expect(ran.stderr).toContain("executable file not found in $PATH");
  expect(place.cgroups()).toEqual([]);
});

test("a detached task: exec, pause, resume, metrics, kill, delete", async () => {
  await must(...(await run("three", ["--detach", "--memory-limit", String(64 << 20)], ["sleep", "1000"])));
  expect(await status("three")).toBe("RUNNING");
  const inside = await ctr("tasks", "exec", "--exec-id", "e1", "three", "sh", "-c", "echo in; exit 4");
  expect(inside).toMatchObject({ status: 4, stdout: "in\n" });
  expect(await must("tasks", "ps", "three")).toMatch(/PID/);
  await must("tasks", "pause", "three");
  expect(await status("three")).toBe("PAUSED");
  await must("tasks", "resume", "three");
  expect(await status("three")).toBe("RUNNING");
  expect(await must("tasks", "metrics", "three")).toContain("three");
  await must("tasks", "kill", "--signal", "SIGKILL", "three");
  await eventually("stopped", async () => (await status("three")) === "STOPPED" || undefined);
  await ctr("tasks", "delete", "three");
  await must("containers", "delete", "three");
  expect(await status("three")).toBe(undefined);
  await eventually("no cgroups", () => place.cgroups().length === 0 || undefined);
});

test("a terminal reaches the shim over the console socket", async () => {
  const args = await run("four", ["--rm", "--tty"], ["sh", "-c", "tty; test -t 0 && echo yes"]);
  // ctr wants a terminal of its own for --tty; script(1) gives it one.
  const command = ["ctr", "--address", join(place.path, "c.sock"), ...args].map((word) => `'${word}'`).join(" ");
  const { stdout } = await execute("script", ["--quiet", "--return", "--command", command, "/dev/null"]);
  expect(stdout.replaceAll("\r", "")).toContain("/dev/pts/0\nyes\n");
});
