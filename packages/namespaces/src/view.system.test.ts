import { spawn } from "node:child_process";
import { readlinkSync } from "node:fs";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import type { Digest, InstanceView } from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { Rig } from "./testing/rig.ts";

let rig: Rig;
let busybox: Digest;

beforeAll(async () => {
  rig = await Rig.open({ allowed: "$ROOT" });
  busybox = await rig.image(await busyboxImage());
});
afterEach(() => rig.clear());
afterAll(() => rig[Symbol.asyncDispose]());

const start = (script: string, changes: Parameters<Rig["assignment"]>[1] = {}) =>
  rig.start(rig.assignment(busybox, { command: ["sh", "-c", script], ...changes }));
const namespace = (view: InstanceView, type: string) => view.namespaces.find((each) => each.type === type);

test("everything an instance has of its own is shown as the kernel has it", async () => {
  const run = await start("sleep 1000 & exec sleep 1000", {
    mounts: [{ hostPath: rig.paths.images, path: "/images" }],
    resources: { memoryBytes: 48 * 2 ** 20, pidsMax: 33 },
  });
  await expect.poll(async () => (await run.view("kernel")).processes).toBe(2);
  const view = await run.view("kernel");
  const pid = rig.pidOf(run);
  expect(view).toMatchObject({ pid, name: "test-0", instanceId: run.key.instanceId, truncated: [] });

  expect(view.mounts.find(({ target }) => target === "/")).toMatchObject({
    type: "overlay",
    mode: "rw",
    propagation: "private",
  });
  expect(view.mounts.find(({ target }) => target === "/images")).toMatchObject({
    mode: "ro",
    idMapped: true,
    propagation: "private",
    share: null,
  });
  expect(view.mounts.filter(({ propagation }) => propagation !== "private")).toEqual([]);

  for (const type of ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"]) {
    expect(namespace(view, type)).toMatchObject({ own: true, instances: [], hostProcesses: { count: 0 } });
    expect(readlinkSync(`/proc/${pid}/ns/${type}`)).toBe(`${type}:[${namespace(view, type)?.inode}]`);
  }
  // The clock's namespace is the host's: so are its processes, this test among them.
  expect(namespace(view, "time")).toMatchObject({ own: false });
  expect(namespace(view, "time")?.hostProcesses.count).toBeGreaterThan(1);

  expect(view.devices.nodes).toContainEqual({
    path: "/dev/null",
    kind: "character",
    major: 1,
    minor: 3,
    mode: "0666",
    uid: 0,
    gid: 0,
  });
  expect(view.capabilities.effective).toContain("CAP_CHOWN");
  expect(view.capabilities.effective).not.toContain("CAP_SYS_ADMIN");
  expect(view.capabilities.inheritable).toEqual([]);
  expect(view.ids).toMatchObject({ uid: 0, gid: 0, uidMap: [{ inside: 0, count: 65_536 }] });
  expect(view.security).toMatchObject({ noNewPrivileges: true });
  const limits = new Map(view.limits.map(({ file, value }) => [file, value]));
  expect(limits.get("pids.max")).toBe("33");
  expect(limits.get("memory.limit_in_bytes") ?? limits.get("memory.max")).toBe(String(48 * 2 ** 20));
});

test("system calls are those that its filters in the kernel let through", async () => {
  const run = await start("exec sleep 1000");
  const { seccomp } = await run.view("kernel");
  expect(seccomp).toMatchObject({
    mode: "filter",
    filters: 1,
    from: "kernel",
    why: null,
    otherwise: "fails with errno 38",
  });
  expect(seccomp.allowed).toEqual(expect.arrayContaining(["read", "openat", "execve"]));
  expect(seccomp.conditional).toEqual(["clone", "personality", "socket"]);
  for (const refused of ["mount", "bpf", "clone3", "keyctl"]) expect(seccomp.allowed).not.toContain(refused);
  expect(seccomp.refused).toBeGreaterThan(50);
  // Both ways of finding out agree, or one of them is wrong.
  const planned = (await run.view("plan")).seccomp;
  expect(planned).toMatchObject({ from: "plan", why: "the process was not to be stopped" });
  expect(planned.allowed).toEqual(seccomp.allowed);
  expect(planned.conditional).toEqual(seccomp.conditional);
});

test("capabilities widen what is allowed, and the view says so", async () => {
  const run = await start("exec sleep 1000", { container: { capabilities: ["CAP_SYS_ADMIN", "CAP_CHOWN"] } });
  const view = await run.view("kernel");
  expect(view.capabilities.effective).toEqual(["CAP_CHOWN", "CAP_SYS_ADMIN"]);
  expect(view.seccomp.allowed).toEqual(expect.arrayContaining(["mount", "clone3"]));
});

test("sockets that something listens on are those of its own network", async () => {
  const run = await start("nc -l -p 4321");
  await expect
    .poll(async () => (await run.view("plan")).sockets)
    .toEqual([{ protocol: expect.stringMatching(/^tcp/), address: expect.stringMatching(/:4321$/), uid: 0 }]);
});

test("a host process that entered an instance's namespaces is found there", async () => {
  const run = await start("exec sleep 1000");
  const pid = rig.pidOf(run);
  const intruder = spawn("nsenter", ["-t", String(pid), "-n", "-i", "sleep", "1000"], { stdio: "ignore" });
  try {
    await expect
      .poll(async () => namespace(await run.view("plan"), "net"))
      .toMatchObject({
        own: false,
        instances: [],
        hostProcesses: { count: 1, examples: [{ pid: intruder.pid, command: "sleep" }] },
      });
    expect(namespace(await run.view("plan"), "ipc")).toMatchObject({ own: false });
    expect(namespace(await run.view("plan"), "mnt")).toMatchObject({ own: true });
  } finally {
    intruder.kill("SIGKILL");
  }
});

test("a paused instance is looked at without waiting for it", async () => {
  const run = await start("exec sleep 1000");
  await run.pause();
  const { seccomp, mounts } = await run.view("kernel");
  expect(mounts.length).toBeGreaterThan(5);
  expect(seccomp.allowed).toContain("read");
  await run.resume();
});

test("what has ended cannot be looked at", async () => {
  const run = await start("exit 0");
  await run.ended;
  await expect(run.view("kernel")).rejects.toMatchObject({ code: "STATE_CONFLICT" });
});
