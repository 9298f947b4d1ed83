import { closeSync, existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { expect, test } from "vitest";
import { eventually, execute, type Config, Place, runtimePath } from "./runtime.ts";

const capabilities = (config: Config, names: string[]): void => {
  config.process["capabilities"] = { bounding: names, permitted: names, effective: names };
};

const running = async (place: Place, id: string, change: (config: Config) => void = () => {}): Promise<void> => {
  await place.create(id, place.bundle(["sleep", "1000"], change));
  await place.must(["start", id]);
};

test("exec runs in the container with the environment, directory, user and capabilities it is given", async () => {
  await using place = new Place();
  await running(place, "one", (config) => {
    config.process.env.push("BASE=1", "OVER=old");
    capabilities(config, ["CAP_KILL", "CAP_SETUID", "CAP_SETGID"]);
  });
  const inside = (...args: string[]): Promise<string> => place.must(["exec", ...args]);
  expect(await inside("one", "sh", "-c", "echo $BASE $OVER; pwd")).toBe("1 old\n/\n");
  expect(
    await inside("--env", "OVER=new", "-e", "MORE=2", "--cwd", "/tmp", "one", "sh", "-c", "echo $OVER $MORE; pwd"),
  ).toBe("new 2\n/tmp\n");
  expect(await inside("--user", "700:701", "-g", "5", "one", "id")).toBe("uid=700(ann) gid=701(ann) groups=5\n");
  expect(await inside("--user", "ann", "one", "id", "-u")).toBe("700\n");
  expect(await inside("one", "grep", "CapEff", "/proc/self/status")).toContain("00000000000000e0");
  expect(await inside("--cap", "CAP_CHOWN", "one", "grep", "CapEff", "/proc/self/status")).toContain(
    "00000000000000e1",
  );
  expect(await inside("one", "grep", "CapInh", "/proc/self/status")).toContain("0000000000000000");
  expect((await place.run(["exec", "one", "sh", "-c", "cat; exit 6"], { input: "x" })).stdout).toBe("x");
});

test("exec takes a whole process from a file", async () => {
  await using place = new Place();
  await running(place, "one");
  const file = join(place.path, "process.json");
  writeFileSync(
    file,
    JSON.stringify({
      args: ["sh", "-c", "echo $A $(id -u); pwd; exit 8"],
      env: ["A=b", "PATH=/bin"],
      cwd: "/etc",
      user: { uid: 700, gid: 0 },
    }),
  );
  expect(await place.run(["exec", "--process", file, "one"])).toMatchObject({ status: 8, stdout: "b 700\n/etc\n" });
  writeFileSync(file, "[]");
  expect(await place.run(["exec", "--process", file, "one"])).toMatchObject({
    status: 255,
    stderr: expect.stringContaining("--process must be an object"),
  });
});

test("exec answers 127, 126 and 255 apart from the program's own status", async () => {
  await using place = new Place();
  writeFileSync(join(place.rootfs, "etc/plain"), "data\n", { mode: 0o644 });
  await running(place, "one");
  expect((await place.run(["exec", "one", "sh", "-c", "exit 6"])).status).toBe(6);
  expect((await place.run(["exec", "one", "nothere"])).status).toBe(127);
  expect((await place.run(["exec", "one", "/etc/plain"])).status).toBe(126);
  expect((await place.run(["exec", "one"])).status).toBe(255);
  expect((await place.run(["exec", "--frob", "one"])).status).toBe(255);
  expect((await place.run(["exec", "--cwd", "/nowhere/../../etc/plain", "one", "true"])).status).toBe(255);
  expect((await place.run(["exec", "one", "sh", "-c", "kill -9 $$"])).status).toBe(137);
});

test("exec is refused in a paused container unless it is asked for", async () => {
  await using place = new Place();
  await running(place, "one");
  await place.must(["pause", "one"]);
  expect((await place.state("one")).status).toBe("paused");
  expect(await place.run(["exec", "one", "true"])).toMatchObject({
    status: 255,
    stderr: expect.stringContaining("that is paused"),
  });
  await place.must(["resume", "one"]);
  expect((await place.state("one")).status).toBe("running");
  await place.must(["exec", "one", "true"]);
  await place.must(["pause", "one"]);
  const waiting = place.run(["exec", "--ignore-paused", "one", "echo", "thawed"]);
  await eventually("a second process", async () => {
    const pids: number[] = JSON.parse(await place.must(["ps", "--format", "json", "one"]));
    return pids.length > 1 || undefined;
  });
  expect((await place.state("one")).status).toBe("paused");
  await place.must(["resume", "one"]);
  expect(await waiting).toMatchObject({ status: 0, stdout: "thawed\n" });
  await place.must(["pause", "one"]);
  await place.must(["delete", "--force", "one"]);
});

test("exec joins a cgroup below the container's, in one hierarchy or in all, and none above it", async () => {
  await using place = new Place();
  await running(place, "one");
  const v1 = existsSync("/sys/fs/cgroup/pids/tasks");
  const group = place.cgroups().find((path) => !v1 || path.startsWith("/sys/fs/cgroup/pids/"))!;
  mkdirSync(join(group, "sub"));
  const pidFile = join(place.path, "exec.pid");
  const given = v1 ? "pids:sub" : "sub";
  const detached = ["exec", "--detach", "--pid-file", pidFile, "--cgroup"];
  const { status } = await execute("sh", [
    "-c",
    'exec "$@" </dev/null >/dev/null 2>&1',
    "sh",
    runtimePath,
    "--root",
    place.root,
    ...detached,
    given,
    "one",
    "sleep",
    "1000",
  ]);
  expect(status).toBe(0);
  const line = readFileSync(`/proc/${readFileSync(pidFile, "utf8")}/cgroup`, "utf8")
    .split("\n")
    .find((text) => (v1 ? text.includes(":pids:") : text.startsWith("0::")));
  expect(line).toMatch(/\/sub$/);
  for (const wrong of ["../other", "a/../../other", "missing"]) {
    const refused = await place.run(["exec", "--cgroup", wrong, "one", "true"]);
    expect({ wrong, ...refused }).toMatchObject({
      wrong,
      status: 255,
      stderr: expect.stringMatching(/'..'|No such file/),
    });
  }
});

test("a detached exec leaves its process to whoever adopts orphans, and writes its pid", async () => {
  await using place = new Place();
  await running(place, "one");
  const pidFile = join(place.path, "exec.pid");
  const child = spawn(
    runtimePath,
    ["--root", place.root, "exec", "--detach", "--pid-file", pidFile, "one", "sleep", "1000"],
    { stdio: "ignore" },
  );
  expect((await once(child, "exit"))[0]).toBe(0);
  const pid = Number(readFileSync(pidFile, "utf8"));
  expect(JSON.parse(await place.must(["ps", "--format", "json", "one"]))).toContain(pid);
  expect(await place.must(["ps", "one"])).toMatch(new RegExp(`^UID +PID .*\\n(.*\\n)*\\S+ +${pid} .*sleep 1000\\n`));
});

test("a foreground terminal is the container's own, and /dev/console is it", async () => {
  await using place = new Place();
  const show =
    "tty; stty size; test -c /dev/console && echo console; stat -c %t:%T /dev/console; stat -L -c %t:%T /dev/pts/0; test -t 0 && echo tty";
  const bundle = place.bundle(["sh", "-c", show], (config) => {
    config.process.terminal = true;
    config.process["consoleSize"] = { height: 33, width: 111 };
  });
  const { status, stdout } = await place.run(["run", "--bundle", bundle, "one"]);
  const lines = stdout.replaceAll("\r", "").split("\n");
  expect(status).toBe(0);
  expect(lines.slice(0, 3)).toEqual(["/dev/pts/0", "33 111", "console"]);
  expect(lines[3]).toBe(lines[4]);
  expect(lines[5]).toBe("tty");

  await running(place, "two");
  const inside = await place.run(["exec", "--tty", "two", "sh", "-c", "tty; test -t 1 && echo yes; exit 4"]);
  expect({ ...inside, stdout: inside.stdout.replaceAll("\r", "") }).toMatchObject({
    status: 4,
    stdout: "/dev/pts/0\nyes\n",
  });
  const refused = await place.run(["exec", "--tty", "--detach", "two", "true"]);
  expect(refused).toMatchObject({ status: 255, stderr: expect.stringContaining("--console-socket") });
});

test("a terminal's multiplexer that the image brought is refused", async () => {
  await using place = new Place();
  const bundle = place.bundle(["true"], (config) => {
    config.process.terminal = true;
    // Without devpts the image's own file is what lies there (CVE-2025-52565).
    config.mounts = config.mounts.filter(({ destination }) => destination !== "/dev/pts");
  });
  const { status, stderr } = await place.run(["run", "--bundle", bundle, "one"]);
  expect(status).toBe(1);
  expect(stderr).toContain("terminal: ");
  expect(place.cgroups()).toEqual([]);
});

test("descriptors from 3 on are handed to the program, and no others", async () => {
  await using place = new Place();
  const file = join(place.path, "given");
  writeFileSync(file, "through 4\n");
  const given = openSync(file, "r");
  const show = "cat <&4; ls /proc/self/fd | wc -l";
  const bundle = place.bundle(["sh", "-c", show]);
  const run = (args: string[]) =>
    spawn(runtimePath, ["--root", place.root, ...args], { stdio: ["ignore", "pipe", "inherit", given, given, given] });
  const read = async (args: string[]): Promise<string> => {
    const child = run(args);
    let text = "";
    child.stdout?.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
    await once(child, "close");
    return text;
  };
  // 0, 1, 2, the two that are preserved, and the one that ls itself opened.
  expect(await read(["run", "--preserve-fds", "2", "--bundle", bundle, "one"])).toBe("through 4\n6\n");
  closeSync(given);
});

test("limits of a live container change one by one, and a wrong one changes nothing", async () => {
  await using place = new Place();
  await running(place, "one", (config) => {
    config.linux["resources"] = { pids: { limit: 50 }, memory: { limit: 64 << 20 } };
  });
  const stats = async (): Promise<{ pids: { limit: number }; memory: { usage: { limit: number } } }> =>
    JSON.parse(await place.must(["events", "--stats", "one"])).data;
  expect(await stats()).toMatchObject({ pids: { limit: 50 }, memory: { usage: { limit: 64 << 20 } } });
  await place.must(["update", "--pids-limit", "60", "one"]);
  expect(await stats()).toMatchObject({ pids: { limit: 60 }, memory: { usage: { limit: 64 << 20 } } });
  await place.must(["update", "--resources", "-", "one"], { input: JSON.stringify({ memory: { limit: 32 << 20 } }) });
  expect(await stats()).toMatchObject({ pids: { limit: 60 }, memory: { usage: { limit: 32 << 20 } } });
  expect((await place.run(["update", "--memory", "lots", "one"])).stderr).toContain("--memory needs a number");
  const wrong = JSON.stringify({ pids: { limit: 70 }, cpu: { period: "x" } });
  expect((await place.run(["update", "-r", "-", "one"], { input: wrong })).stderr).toContain("/cpu/period");
  expect(await stats()).toMatchObject({ pids: { limit: 60 } });
});

test("events --stats tells what is used, by device and page size, and what was waited for", async () => {
  await using place = new Place();
  await running(place, "one", (config) => {
    config.linux["resources"] = { pids: { limit: 50 }, memory: { limit: 64 << 20 } };
  });
  await place.must(["exec", "one", "dd", "if=/dev/zero", "of=/tmp/file", "bs=1M", "count=2"]);
  const { type, id, data } = JSON.parse(await place.must(["events", "--stats", "one"]));
  expect({ type, id }).toEqual({ type: "stats", id: "one" });
  const { cpu, memory, pids, blkio, hugetlb } = data;
  expect(cpu.usage.total).toBeGreaterThan(0);
  expect(cpu.usage.user + cpu.usage.kernel).toBeGreaterThanOrEqual(0);
  expect(cpu.throttling).toEqual({ periods: 0, throttledPeriods: 0, throttledTime: 0 });
  expect(memory.usage).toMatchObject({ limit: 64 << 20, failcnt: 0 });
  expect(memory.usage.usage).toBeGreaterThan(0);
  // The file's pages are the container's, whether they have been written to the disk yet or not.
  expect(memory.cache).toBeGreaterThanOrEqual(2 << 20);
  expect(memory.raw.pgfault).toBeGreaterThan(0);
  expect(pids).toEqual({ current: 1, limit: 50 });
  for (const row of blkio.ioServiceBytesRecursive) expect(row.op).toMatch(/^[A-Z]/);
  for (const size of Object.values(hugetlb)) expect(size).toMatchObject({ usage: 0 });
  // Where the kernel accounts for pressure, the unified hierarchy has it, also beside v1's controllers.
  const accounted = existsSync("/proc/pressure/cpu");
  expect([cpu, memory, blkio].map((part) => typeof part.psi?.some.total === "number")).toEqual(
    Array.from({ length: 3 }, () => accounted),
  );
});

test("events tell of a kill for memory, and end with the container", async () => {
  await using place = new Place();
  await running(place, "one", (config) => {
    config.linux["resources"] = { memory: { limit: 32 << 20, swap: 32 << 20 } };
  });
  const child = spawn(runtimePath, ["--root", place.root, "events", "--interval", "50ms", "one"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  // Listened to from now on: it may end before `kill` has.
  const ended = once(child, "exit");
  let text = "";
  child.stdout.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
  await eventually("a first row", () => text.includes('"stats"') || undefined);
  // Its one buffer is larger than the container may be.
  const killed = await place.run(["exec", "one", "dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1"]);
  expect(killed.status).toBe(137);
  await eventually("an oom event", () => text.includes('{"type":"oom","id":"one"}') || undefined);
  await place.must(["kill", "one", "KILL"]);
  expect((await ended)[0]).toBe(0);
});

test("kill --all reaches every process", async () => {
  await using place = new Place();
  await place.create("one", place.bundle(["sh", "-c", "sleep 1000 & sleep 1000 & wait"]));
  await place.must(["start", "one"]);
  const pids = await eventually("three processes", async () => {
    const list: number[] = JSON.parse(await place.must(["ps", "-f", "json", "one"]));
    return list.length === 3 ? list : undefined;
  });
  expect(pids).toHaveLength(3);
  await place.must(["kill", "--all", "one", "KILL"]);
  await eventually("stopped", async () => (await place.state("one")).status === "stopped" || undefined);
});
