// What a specification may ask of the kernel beyond the default, tried against it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, readFileSync, readlinkSync, readSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Area } from "../test/fixture.ts";
import { compileProgram } from "../test/program.ts";
import { exec, NativeError, type PlanInput, type ProcessRef, sendSignal } from "./index.ts";

/** What a start that must fail failed with. */
const refusal = async (area: Area, change: (input: PlanInput) => void): Promise<unknown> =>
  area.start(["true"], change).catch((error: unknown) => error);

test("scheduler, I/O priority, personality and memory policy are the kernel's own", async () => {
  await using area = new Area();
  const script = `cat /proc/self/sched | grep -E '^(policy|prio)'; cut -d' ' -f19,41 /proc/self/stat;
    cat /proc/self/personality; uname -m; grep -m1 -oE 'bind:[0-9]+|interleave:[0-9]+|default' /proc/self/numa_maps; ionice`;
  const { stdout } = await area.run(["sh", "-c", script], (input) => {
    input.spec.process.scheduler = { policy: "SCHED_BATCH", nice: 7 };
    input.spec.process.ioPriority = { class: "IOPRIO_CLASS_BE", priority: 6 };
    input.spec.linux!.personality = { domain: "LINUX32" };
    input.spec.linux!.memoryPolicy = { mode: "MPOL_BIND", nodes: "0", flags: ["MPOL_F_STATIC_NODES"] };
  });
  expect(stdout).toMatch(/policy\s+:\s+3/);
  // nice, policy
  expect(stdout).toContain("7 3\n");
  expect(stdout).toContain("00000008");
  expect(stdout).toContain("i686");
  expect(stdout).toContain("best-effort: prio 6");
});

test("ambient capabilities stay with a user who is not root, and are all that is inheritable", async () => {
  await using area = new Area();
  const { stdout } = await area.run(["cat", "/proc/self/status"], (input) => {
    input.spec.process.user = { uid: 1000, gid: 1000 };
    input.spec.process.capabilities = {
      bounding: ["CAP_KILL", "CAP_CHOWN"],
      permitted: ["CAP_KILL", "CAP_CHOWN"],
      effective: ["CAP_KILL", "CAP_CHOWN"],
      inheritable: ["CAP_KILL", "CAP_CHOWN"],
      ambient: ["CAP_KILL"],
    };
  });
  const field = (name: string): string => new RegExp(`^${name}:\\s+(\\S+)`, "m").exec(stdout)?.[1] ?? "missing";
  expect(field("CapAmb")).toBe("0000000000000020");
  expect(field("CapEff")).toBe("0000000000000020");
  expect(field("CapInh")).toBe("0000000000000020");
});

test("the session keyring is the container's own", async () => {
  await using area = new Area();
  const { stdout } = await area.run(["cat", "/proc/keys"], (input) => {
    input.spec.linux!.maskedPaths = [];
    input.state = { id: "keyring-test", bundle: "/b" };
  });
  expect(stdout).toContain("_ses.keyring-test:");
});

test.skipIf(existsSync("/sys/module/apparmor"))(
  "an AppArmor profile is refused where there is no AppArmor",
  async () => {
    await using area = new Area();
    const refused = await refusal(area, (input) => {
      input.spec.process.apparmorProfile = "docker-default";
    });
    expect(refused).toMatchObject({ step: "labels", op: "apparmor", code: "EOPNOTSUPP", path: "docker-default" });
    await using fine = new Area();
    const { exit } = await fine.run(["true"], (input) => {
      input.spec.process.apparmorProfile = "unconfined";
    });
    expect(exit.exitCode).toBe(0);
  },
);

test.skipIf(existsSync("/sys/fs/selinux/enforce"))(
  "an SELinux label is refused where there is no SELinux",
  async () => {
    await using area = new Area();
    const refused = await refusal(area, (input) => {
      input.spec.process.selinuxLabel = "system_u:system_r:container_t:s0";
    });
    expect(refused).toMatchObject({ step: "labels", op: "selinux", code: "EOPNOTSUPP" });
  },
);

test("clocks begin where the specification says, for an exec too", async () => {
  await using area = new Area();
  const started = await area.start(["sleep", "1000"], (input) => {
    input.spec.linux!.namespaces = [...input.spec.linux!.namespaces!, { type: "time" }];
    input.spec.linux!.timeOffsets = { boottime: { secs: 1_000_000, nanosecs: 5 }, monotonic: { secs: 2_000_000 } };
  });
  const hostUptime = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
  const ran = await execOutput(area, started.init, ["sh", "-c", "cat /proc/uptime; cat /proc/self/timens_offsets"]);
  expect(Number(ran.split(" ")[0]) - hostUptime).toBeGreaterThan(999_990);
  expect(ran).toMatch(/boottime\s+1000000\s+5/);
  expect(ran).toMatch(/monotonic\s+2000000\s+0/);
  // The shim counts its lease in the host's time.
  expect(readlinkSync(`/proc/${started.shim.pid}/ns/time`)).toBe(readlinkSync("/proc/self/ns/time"));
});

test("every namespace but the mount namespace can be joined by path, and its type is checked", async () => {
  await using first = new Area();
  await using second = new Area();
  const types = ["pid", "network", "ipc", "uts", "user", "cgroup", "time"] as const;
  const file = { pid: "pid", network: "net", ipc: "ipc", uts: "uts", user: "user", cgroup: "cgroup", time: "time" };
  const withTime = (input: PlanInput): void => {
    input.spec.linux!.namespaces = ["mount" as const, ...types].map((type) => ({ type }));
  };
  const started = await first.start(["sleep", "1000"], withTime);
  const path = (type: (typeof types)[number]): string => `/proc/${started.init.pid}/ns/${file[type]}`;
  const joining = (input: PlanInput): void => {
    input.spec.linux!.namespaces = [{ type: "mount" }, ...types.map((type) => ({ type, path: path(type) }))];
    delete (input.spec as { hostname?: string }).hostname;
  };
  const show = types.map((type) => `readlink /proc/self/ns/${file[type]}`).join("; ");
  const { stdout } = await second.run(["sh", "-c", show], joining);
  expect(stdout.trim().split("\n")).toEqual(types.map((type) => readlinkSync(path(type))));
  expect(
    await refusal(second, (input) => {
      joining(input);
      input.spec.linux!.namespaces = [{ type: "mount" }, { type: "network", path: path("uts") }];
      input.spec.linux!.uidMappings = [];
      input.spec.linux!.gidMappings = [];
    }),
  ).toMatchObject({ step: "join namespaces", code: "EINVAL" });
  expect(
    await refusal(second, (input) => {
      joining(input);
      input.spec.linux!.uidMappings = [{ containerID: 0, hostID: 0x20000000, size: 65536 }];
    }),
  ).toMatchObject({ step: "id maps", op: "compare", code: "EINVAL", path: "uid_map" });
  expect(
    await refusal(second, (input) => {
      input.spec.linux!.namespaces = input.spec.linux!.namespaces!.map((one) =>
        one.type === "uts" ? { type: "uts" as const, path: "/proc/self/ns/uts" } : one,
      );
    }),
  ).toMatchObject({ step: "join namespaces", code: "EPERM" });
  sendSignal(started.init, 9);
});

test("a seccomp listener gets the descriptor and the process's state, and answers for it", async () => {
  await using area = new Area();
  const path = join(area.path, "listener.sock");
  const program = compileProgram("seccomp-listener", area.path);
  const listener = spawn(program, [path], { stdio: ["ignore", "pipe", "inherit"] });
  let heard = "";
  listener.stdout.on("data", (data: Buffer) => {
    heard += data.toString();
  });
  const ended = once(listener, "close");
  await once(listener.stdout, "data");
  const seccomp = {
    defaultAction: "SCMP_ACT_ALLOW",
    listenerPath: path,
    listenerMetadata: "who",
    flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
    syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_NOTIFY" }],
  };
  const { stdout, exit } = await area.run(["sh", "-c", "mkdir /x 2>&1; true"], (input) => {
    input.spec.linux!.seccomp = seccomp;
    input.spec.annotations = { a: "b" };
    input.state = { id: "listened", bundle: "/bundle" };
  });
  await ended;
  expect(stdout).toContain("Inappropriate ioctl for device");
  expect(exit.exitCode).toBe(0);
  const state: unknown = JSON.parse(heard.slice(heard.indexOf("{"), heard.lastIndexOf("}") + 1));
  expect(state).toMatchObject({
    fds: ["seccompFd"],
    metadata: "who",
    state: { id: "listened", bundle: "/bundle", status: "creating", annotations: { a: "b" } },
  });
  const { pid, state: inner } = state as { pid: number; state: { pid: number } };
  expect(pid).toBe(inner.pid);
  expect(pid).toBeGreaterThan(1);
  expect(heard).toMatch(/asked by \d+/);
});

test("a listener that is not there is a start that fails", async () => {
  await using area = new Area();
  const seccomp = {
    defaultAction: "SCMP_ACT_ALLOW",
    listenerPath: join(area.path, "nobody.sock"),
    syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }],
  };
  const refused = await refusal(area, (input) => {
    input.spec.linux!.seccomp = seccomp;
  });
  expect(refused).toBeInstanceOf(NativeError);
  expect(refused).toMatchObject({ op: "connect", code: "ENOENT" });
});

/** Output of a program that is added to a running container. */
async function execOutput(area: Area, target: ProcessRef, args: readonly string[]): Promise<string> {
  const process = { args, env: ["PATH=/bin"], cwd: "/", noNewPrivileges: true };
  const started = await exec({ spec: { process }, target, cgroup: area.cgroup, stdio: "pipes" });
  closeSync(started.stdin);
  await started.exited;
  // The program has ended, so all it wrote lies in the pipe.
  const text = readPipe(started.stdout);
  for (const fd of [started.stdout, started.stderr]) if (fd !== null) closeSync(fd);
  return text;
}

function readPipe(fd: number): string {
  const buffer = Buffer.alloc(65536);
  return buffer.toString("utf8", 0, readSync(fd, buffer, 0, buffer.length, null));
}
