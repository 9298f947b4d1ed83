import { execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Area } from "../test/fixture.ts";
import { attach, detach, inspect, startTicks, type Started } from "./index.ts";

let area: Area;
let shares: string;
beforeEach(() => {
  area = new Area();
  shares = join(area.path, "shares");
  mkdirSync(join(shares, "one/data"), { recursive: true });
  writeFileSync(join(shares, "one/data/greeting"), "hello\n");
});
afterEach(() => area[Symbol.asyncDispose]());

const source = () => ({ beneath: shares, source: "one/data" });
const attachTo = ({ init }: Started, changes: Partial<Parameters<typeof attach>[0]> = {}) =>
  attach({
    target: init,
    ...source(),
    destination: "mnt/one",
    readOnly: true,
    noExec: true,
    idMapped: true,
    ...changes,
  });
const mountsOf = ({ init }: Started): string[] =>
  readFileSync(`/proc/${init.pid}/mountinfo`, "utf8")
    .split("\n")
    .filter((line) => line.includes("/one/data"));
const inside = ({ init }: Started, path: string): string => `/proc/${init.pid}/root${path}`;
const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "done",
    (error: { code: string }) => error.code,
  );

test("a directory is attached to a running container, once, and detached again", async () => {
  const started = await area.start(["sleep", "1000"]);
  expect(await attachTo(started)).toEqual({ already: false });
  expect(await attachTo(started)).toEqual({ already: true });
  const [line = "", ...more] = mountsOf(started);
  expect(more).toEqual([]);
  expect(line.split(" ")).toMatchObject({ 4: "/mnt/one", 5: expect.stringMatching(/^ro,nosuid,nodev,noexec/) });
  // Optional fields name peers; a private mount has none.
  expect(line.split(" ")[6]).toBe("-");
  expect(readFileSync(inside(started, "/mnt/one/greeting"), "utf8")).toBe("hello\n");
  // Made for the container by its own root.
  expect(statSync(inside(started, "/mnt")).uid).toBe(0x10000000);
  expect(await detach({ target: started.init, ...source() })).toEqual({ removed: 1, busy: false });
  expect(mountsOf(started)).toEqual([]);
  expect(readdirSync(inside(started, "/mnt/one"))).toEqual([]);
  expect(await detach({ target: started.init, ...source() })).toEqual({ removed: 0, busy: false });
});

test("a writable one takes files with the ids of the container", async () => {
  const started = await area.start([
    "sh",
    "-c",
    "until cd /mnt/one 2> /dev/null; do sleep 0.01; done; touch mine; sleep 1000",
  ]);
  await attachTo(started, { readOnly: false });
  const mine = join(shares, "one/data/mine");
  await expect.poll(() => statSync(mine, { throwIfNoEntry: false })?.uid).toBe(0);
  // Its shell stands in the directory: the mount goes, the shell keeps what it has.
  expect(await detach({ target: started.init, ...source() })).toEqual({ removed: 1, busy: true });
  expect(mountsOf(started)).toEqual([]);
});

test("read-only holds against the container's root", async () => {
  const script =
    "until [ -e /mnt/one/greeting ]; do sleep 0.01; done; echo no > /mnt/one/new; mount -o remount,rw /mnt/one; echo no > /mnt/one/new; echo over; sleep 1000";
  const started = await area.start(["sh", "-c", script]);
  await attachTo(started);
  await expect.poll(() => readFileSync(area.log, "utf8")).toContain("over");
  expect(readdirSync(join(shares, "one/data"))).toEqual(["greeting"]);
});

test("links of the image lead nowhere but into its own root", async () => {
  const decoy = join(area.path, "decoy");
  mkdirSync(decoy);
  symlinkSync(decoy, join(area.layer, "out"));
  symlinkSync("../../../../../../../../..", join(area.layer, "up"));
  const started = await area.start(["sleep", "1000"]);
  expect(await codeOf(attachTo(started, { destination: "out/one" }))).toBe("ENOENT");
  expect(await codeOf(attachTo(started, { destination: "up/one" }))).toBe("done");
  expect(readdirSync(decoy)).toEqual([]);
  expect(mountsOf(started).map((line) => line.split(" ")[4])).toEqual(["/one"]);
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain("/one/data");
});

test.each(["proc", "sys", "sys/kernel", "toproc"])(
  "nothing is laid over the kernel's files at /%s",
  async (destination) => {
    symlinkSync("/proc", join(area.layer, "toproc"));
    const started = await area.start(["sleep", "1000"]);
    expect(await codeOf(attachTo(started, { destination }))).toBe("EOPNOTSUPP");
    expect(mountsOf(started)).toEqual([]);
  },
);

test("a place that keeps changing is never the host's", async () => {
  const decoy = join(area.path, "decoy");
  mkdirSync(join(decoy, "one"), { recursive: true });
  // busybox has no renameat2: the racer removes and makes, as fast as it can.
  const script = `while :; do mkdir /race 2> /dev/null; busybox rmdir /race/one /race 2> /dev/null; busybox ln -s ${decoy} /race 2> /dev/null; busybox rm -f /race; done`;
  const started = await area.start(["sh", "-c", script]);
  for (let round = 0; round < 100; round += 1) {
    await codeOf(attachTo(started, { destination: "race/one" }));
    await detach({ target: started.init, ...source() });
  }
  expect(readdirSync(join(decoy, "one"))).toEqual([]);
  expect(readFileSync("/proc/self/mountinfo", "utf8")).not.toContain("/one/data");
});

test("nothing is detached from the host, or attached there, whoever of it is named", async () => {
  const own = { pid: process.pid, startTicks: startTicks(process.pid) };
  const destination = join(shares, "two").slice(1);
  execFileSync("mount", ["--bind", join(shares, "one"), join(shares, "one")]);
  try {
    expect(await codeOf(detach({ target: own, ...source() }))).toBe("EPERM");
    const wanted = { ...source(), destination, readOnly: true, noExec: true, idMapped: false };
    expect(await codeOf(attach({ target: own, ...wanted }))).toBe("EPERM");
    expect(readFileSync("/proc/self/mountinfo", "utf8")).toContain(` ${shares}/one `);
    expect(existsSync(join(shares, "two"))).toBe(false);
  } finally {
    execFileSync("umount", [join(shares, "one")]);
  }
});

test("every copy is detached, also of what lies below it", async () => {
  mkdirSync(join(shares, "one/data/deep"));
  mkdirSync(join(shares, "two/data"), { recursive: true });
  const started = await area.start(["sleep", "1000"]);
  await attachTo(started);
  await attachTo(started, { destination: "mnt/again" });
  await attachTo(started, { destination: "mnt/deep", source: "one/data/deep" });
  await attachTo(started, { destination: "mnt/two", source: "two/data" });
  expect(await detach({ target: started.init, ...source() })).toEqual({ removed: 3, busy: false });
  expect(readFileSync(`/proc/${started.init.pid}/mountinfo`, "utf8")).toContain("/two/data /mnt/two");
});

test("sources that are links, missing or outside are refused", async () => {
  symlinkSync("/etc", join(shares, "link"));
  const started = await area.start(["sleep", "1000"]);
  expect(await codeOf(attachTo(started, { source: "link" }))).toBe("ELOOP");
  expect(await codeOf(attachTo(started, { source: "../run" }))).toBe("EXDEV");
  expect(await codeOf(attachTo(started, { source: "missing" }))).toBe("ENOENT");
  expect(await codeOf(attachTo(started, { target: { ...started.init, startTicks: 1 } }))).toBe("ESRCH");
});

test("device nodes are listed, and none of the host's behind a link", async () => {
  const started = await area.start(["sleep", "1000"]);
  const { devices, devicesTruncated, filters } = await inspect(started.init, { stop: false });
  expect(devices.map(({ path, kind, major, minor }) => ({ path, kind, major, minor }))).toContainEqual({
    path: "/dev/null",
    kind: "character",
    major: 1,
    minor: 3,
  });
  expect(devicesTruncated).toBe(false);
  expect(filters).toEqual([]);
  rmSync(join(area.layer, "dev"), { recursive: true, force: true });
});

test("seccomp filters come from the kernel, as many as are stacked, and the process goes on", async () => {
  const filtered = await area.start(["sleep", "1000"], (input) => {
    input.spec.linux!.seccomp = {
      defaultAction: "SCMP_ACT_ALLOW",
      architectures: ["SCMP_ARCH_X86_64"],
      syscalls: [{ names: ["mount"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }],
    };
  });
  const { filters, filtersError, syscalls } = await inspect(filtered.init, { stop: true });
  expect(filtersError).toBeNull();
  expect(filters).toHaveLength(1);
  expect((filters[0]?.length ?? 1) % 8).toBe(0);
  expect(syscalls).toMatchObject({ read: 0, mount: 165, clone3: 435 });
  expect(readFileSync(`/proc/${filtered.init.pid}/status`, "utf8")).toMatch(/^State:\t[SR]/m);
  expect(readFileSync(`/proc/${filtered.init.pid}/status`, "utf8")).toMatch(/^TracerPid:\t0$/m);
});

test("a process that somebody else traces keeps its filters to itself, and that is said", async () => {
  const started = await area.start(["sleep", "1000"]);
  const tracer = spawn("strace", ["-p", String(started.init.pid)], { stdio: "ignore" });
  try {
    await expect
      .poll(() => readFileSync(`/proc/${started.init.pid}/status`, "utf8"), { timeout: 30_000 })
      .toContain(`TracerPid:\t${tracer.pid}`);
    const { filters, filtersError } = await inspect(started.init, { stop: true });
    expect(filters).toEqual([]);
    expect(filtersError?.code).toBe("EPERM");
  } finally {
    tracer.kill("SIGKILL");
  }
});
