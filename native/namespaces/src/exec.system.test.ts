import { execFileSync, spawn } from "node:child_process";
import { closeSync, readFileSync, readlinkSync, readSync, writeSync } from "node:fs";
import { expect, test } from "vitest";
import { Area, eventually, forkServers } from "../test/fixture.ts";
import { exec, type ExecInput, freeze, killAll, type ProcessRef, thaw } from "./index.ts";

function input(area: Area, target: ProcessRef, args: readonly string[], change: Partial<ExecInput> = {}): ExecInput {
  const process = { args, env: ["PATH=/bin"], cwd: "/", noNewPrivileges: true };
  return { spec: { process }, target, cgroup: area.cgroup, stdio: "pipes", ...change };
}

/** Reads a nonblocking descriptor to its end and closes it. */
async function rest(fd: number): Promise<string> {
  const buffer = Buffer.alloc(4096);
  let text = "";
  let ended = false;
  await eventually(() => {
    try {
      const count = readSync(fd, buffer, 0, buffer.length, null);
      text += buffer.toString("utf8", 0, count);
      ended = count === 0;
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error;
    }
    return ended;
  }, "end of file");
  closeSync(fd);
  return text;
}

async function until(fd: number, wanted: string): Promise<string> {
  const buffer = Buffer.alloc(4096);
  let text = "";
  await eventually(() => {
    try {
      text += buffer.toString("utf8", 0, readSync(fd, buffer, 0, buffer.length, null));
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error;
    }
    return text.includes(wanted);
  }, wanted);
  return text;
}

test("a process joins with pipes: input, output, errors and its exit code", async () => {
  await using area = new Area();
  const { init } = await area.start(["sleep", "1000"]);
  const run = await exec(input(area, init, ["sh", "-c", "cat; echo err >&2; exit 3"]));
  writeSync(run.stdin, "hello\n");
  closeSync(run.stdin);
  expect(await rest(run.stdout)).toBe("hello\n");
  expect(await rest(run.stderr!)).toBe("err\n");
  expect(await run.exited).toMatchObject({ exitCode: 3, signal: null });
});

test("it is in the container's namespaces and cgroups, with no more rights than asked for", async () => {
  await using area = new Area();
  const { init } = await area.start(["sleep", "1000"]);
  const script = `grep -E "^(CapInh|CapEff|CapBnd|CapAmb|NoNewPrivs|SigIgn|SigBlk)" /proc/self/status; ls /proc/$$/fd; cat`;
  const run = await exec(input(area, init, ["sh", "-c", script]));
  const place = (pid: number): string[] => [
    ...["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"].map((name) => readlinkSync(`/proc/${pid}/ns/${name}`)),
    readFileSync(`/proc/${pid}/cgroup`, "utf8"),
  ];
  expect(place(run.process.pid)).toEqual(place(init.pid));
  closeSync(run.stdin);
  const text = await rest(run.stdout);
  expect(await rest(run.stderr!)).toBe("");
  const sets = [...text.matchAll(/^(?:Cap\w+|Sig\w+):\s+(\S+)/gm)].map((match) => match[1]);
  expect(sets).toEqual(Array(6).fill("0000000000000000"));
  expect(text).toMatch(/NoNewPrivs:\s+1\n0\n1\n2\n$/);
});

test("a terminal has a size that can change, echoes, and passes the exit code", async () => {
  await using area = new Area();
  const { init } = await area.start(["sleep", "1000"]);
  const run = await exec(
    input(area, init, ["sh", "-c", "tty; stty size; read x; stty size; echo got $x; exit 5"], {
      stdio: "pty",
      consoleSize: { rows: 30, columns: 100 },
    }),
  );
  expect(await until(run.stdout, "30 100\r\n")).toBe("/dev/pts/0\r\n30 100\r\n");
  run.resize(40, 120);
  // Sizes go by another descriptor than the bytes; it is there once the terminal says so.
  await eventually(() => ttySize(run.process.pid) === "40 120", "the new size");
  writeSync(run.stdin, "abc\n");
  expect(await rest(run.stdout)).toBe("abc\r\n40 120\r\ngot abc\r\n");
  expect(await run.exited).toMatchObject({ exitCode: 5 });
});

test("a lot of output passes a terminal whole, and the end of input is Ctrl-D", async () => {
  await using area = new Area();
  const { init } = await area.start(["sleep", "1000"]);
  const many = await exec(input(area, init, ["seq", "1", "30000"], { stdio: "pty" }));
  const text = await rest(many.stdout);
  expect(text.split("\r\n")).toHaveLength(30001);
  expect(await many.exited).toMatchObject({ exitCode: 0 });
});

test("what cannot run is an error of the step exec; a target that is gone, of the step target", async () => {
  await using area = new Area();
  const { init } = await area.start(["sleep", "1000"]);
  await expect(exec(input(area, init, ["nope"]))).rejects.toMatchObject({ step: "exec", code: "ENOENT", path: "nope" });
  await expect(exec(input(area, init, ["/etc"]))).rejects.toMatchObject({ step: "exec", code: "EACCES" });
  const other = { ...init, startTicks: init.startTicks + 1 };
  await expect(exec(input(area, other, ["true"]))).rejects.toMatchObject({ step: "target", code: "ESRCH" });
  await expect(exec(input(area, init, []))).rejects.toMatchObject({ step: "plan./spec/process/args", code: "EINVAL" });
  await expect(exec(input(area, init, ["true"], { imageUser: "stranger" }))).rejects.toMatchObject({
    step: "user lookup",
    code: "ENOENT",
  });
});

test("signals reach it, giving up hangs it up, and what ignores that is killed", async () => {
  await using area = new Area();
  const { init } = await area.start(["sleep", "1000"]);
  const first = await exec(input(area, init, ["sleep", "1000"]));
  first.signal(15);
  expect(await first.exited).toMatchObject({ signal: 15 });
  const second = await exec(input(area, init, ["sleep", "1000"]));
  second[Symbol.dispose]();
  expect(await second.exited).toMatchObject({ signal: 1 });
  const third = await exec(input(area, init, ["sh", "-c", "trap '' HUP; echo ready; while :; do sleep 1; done"]));
  await until(third.stdout, "ready");
  third[Symbol.dispose]();
  expect(await third.exited).toMatchObject({ signal: 9 });
});

test("a frozen container takes no new process, and its end takes the joined ones with it", async () => {
  await using area = new Area();
  const { init } = await area.start(["sleep", "1000"]);
  const run = await exec(input(area, init, ["sleep", "1000"]));
  await freeze(area.cgroup, 5000);
  await expect(exec(input(area, init, ["true"]))).rejects.toMatchObject({ step: "cgroup join", code: "EBUSY" });
  thaw(area.cgroup);
  killAll(area.cgroup);
  expect(await run.exited).toMatchObject({ signal: 9 });
});

function ttySize(pid: number): string {
  // The stream itself shows nothing of its size; a look at the terminal from outside does.
  return execFileSync("stty", ["-F", `/proc/${pid}/fd/0`, "size"], { encoding: "utf8" }).trim();
}

test("one that a killed fork server had in its hands is asked of the next, with the streams it was to have", async () => {
  await using area = new Area();
  const { init } = await area.start(["sleep", "1000"]);
  const servers = forkServers();
  for (const pid of servers) process.kill(pid, "SIGSTOP");
  // exec() asks and waits for the answer in one go, so somebody else kills: when this process is in poll(2).
  const waits = `[ "$(cut -d ' ' -f 1 /proc/${process.pid}/syscall)" = 7 ]`;
  const killer = spawn("sh", ["-c", `until ${waits}; do :; done; kill -9 ${servers.join(" ")}`]);
  const run = await exec(input(area, init, ["sh", "-c", "cat; echo err >&2; exit 3"]));
  writeSync(run.stdin, "through\n");
  closeSync(run.stdin);
  expect(await rest(run.stdout)).toBe("through\n");
  expect(await rest(run.stderr!)).toBe("err\n");
  expect(await run.exited).toMatchObject({ exitCode: 3, signal: null });
  await eventually(() => killer.exitCode !== null, "the server is killed");
  expect(killer.exitCode).toBe(0);
});
