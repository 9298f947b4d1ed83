import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Area, eventually } from "../test/fixture.ts";
import {
  isAlive,
  type PlanInput,
  killAll,
  probe,
  readExit,
  readLimits,
  readStatus,
  readUsage,
  sendSignal,
  watchExit,
} from "./index.ts";

test("an entrypoint runs as process 1 with every namespace of its own", async () => {
  await using area = new Area();
  const script =
    "echo $$; hostname; for n in mnt pid net ipc uts user cgroup; do readlink /proc/self/ns/$n; done; exit 7";
  const { exit, stdout } = await area.run(["sh", "-c", script]);
  const lines = stdout.trim().split("\n");
  expect(lines.slice(0, 2)).toEqual(["1", "box"]);
  const hosts = ["mnt", "pid", "net", "ipc", "uts", "user", "cgroup"].map((name) =>
    readlinkSync(`/proc/self/ns/${name}`),
  );
  expect(lines).toHaveLength(9);
  expect(lines.filter((line) => hosts.includes(line))).toEqual([]);
  expect(exit).toMatchObject({ exitCode: 7, signal: null, oomKilled: false, leaseExpired: false });
  expect(exit.finishedAtUnixMs).toBeGreaterThanOrEqual(exit.startedAtUnixMs);
});

test("ids inside are shifted outside, in both directions", async () => {
  await using area = new Area();
  chownSync(join(area.layer, "etc"), 33, 33);
  const { stdout } = await area.run([
    "sh",
    "-c",
    "id -u; stat -c %u:%g /etc /bin/busybox; touch /made; cat /proc/self/uid_map",
  ]);
  expect(stdout.split("\n").slice(0, 3)).toEqual(["0", "33:33", "0:0"]);
  expect(stdout).toMatch(/0\s+268435456\s+65536/);
  expect(statSync(join(area.path, "upper/made")).uid).toBe(0x10000000);
  expect(statSync(join(area.layer, "bin/busybox")).uid).toBe(0);
});

test("capabilities: nothing inheritable or ambient, no_new_privs on, seccomp enforced", async () => {
  await using area = new Area();
  const { stdout } = await area.run(["sh", "-c", "cat /proc/self/status; mkdir /x; echo mkdir=$?"], (input) => {
    input.spec.linux!.seccomp = {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 1 }],
    };
  });
  const field = (name: string): string => new RegExp(`^${name}:\\s+(\\S+)`, "m").exec(stdout)?.[1] ?? "missing";
  expect(field("CapInh")).toBe("0000000000000000");
  expect(field("CapAmb")).toBe("0000000000000000");
  expect(field("CapEff")).toBe("00000000000000eb");
  expect(field("CapBnd")).toBe("00000000000000eb");
  expect(field("NoNewPrivs")).toBe("1");
  expect(field("Seccomp")).toBe("2");
  expect(stdout).toContain("mkdir=1");
  // Node ignores SIGPIPE; a shell pipeline needs it.
  expect(field("SigIgn")).toBe("0000000000000000");
  expect(field("SigBlk")).toBe("0000000000000000");
});

test("masked paths are empty, read-only ones refuse writes, /dev is complete", async () => {
  await using area = new Area();
  const script = `ls -A /sys/firmware /proc/acpi | grep -v : ; cat /proc/keys; echo x > /proc/sys/kernel/domainname; echo ro=$?
    for d in null zero full random urandom tty; do test -c /dev/$d && echo $d; done; echo gone > /dev/null; test -c /dev/null && head -c 3 /dev/zero | dd bs=1 2>/dev/null | stat -c %F -`;
  const { stdout } = await area.run(["sh", "-c", script]);
  const lines = stdout.split("\n").filter((line) => line !== "");
  expect(lines.slice(0, 7)).toEqual(["ro=1", "null", "zero", "full", "random", "urandom", "tty"]);
});

test("the image's user is looked up in its own passwd and group, and pipes are its own", async () => {
  await using area = new Area();
  writeFileSync(
    join(area.layer, "etc/passwd"),
    "root:x:0:0::/root:/bin/sh\nredis:x:100:101::/data:/bin/sh\n1000:x:0:0::/:/bin/sh\n",
  );
  writeFileSync(join(area.layer, "etc/group"), "redis:x:101:\nextra:x:300:redis,other\n");
  const seen = async (imageUser: string): Promise<string> => {
    await using own = new Area();
    for (const name of ["passwd", "group"])
      writeFileSync(join(own.layer, "etc", name), readFileSync(join(area.layer, "etc", name)));
    const { stdout } = await own.run(
      ["sh", "-c", 'echo "$(id -u):$(id -g):$(id -G) $HOME"; echo reopened > /dev/stdout'],
      (input) => {
        input.imageUser = imageUser;
      },
    );
    expect(stdout).toContain("reopened");
    return stdout.split("\n")[0] ?? "";
  };
  expect(await seen("redis")).toBe("100:101:101 300 /data");
  expect(await seen("redis:extra")).toBe("100:300:300 /data");
  expect(await seen("")).toBe("0:0:0 /root");
  // Not the account that is named like a number (and has id 0).
  expect(await seen("1000")).toBe("1000:0:0 /");
  expect(await seen("1000:2000")).toBe("1000:2000:2000 /");
  for (const [wrong, code] of [
    ["nobody", "ENOENT"],
    ["redis:", "EINVAL"],
    [":redis", "EINVAL"],
    ["99999999999", "ERANGE"],
    ["4294967295", "ERANGE"],
    ["x:y:z", "ENOENT"],
  ]) {
    const refused = await seen(wrong!).catch((error: unknown) => error);
    expect({ wrong, refused }).toMatchObject({ refused: { step: "user lookup", code } });
  }
});

test("limits are read back, usage is counted, changes apply live", async () => {
  await using area = new Area();
  const started = await area.start(["sleep", "1000"], (input) => {
    input.spec.linux!.resources = {
      memory: { limit: 32 << 20 },
      cpu: { shares: 256, quota: 20000, period: 100000, cpus: "0" },
      pids: { limit: 11 },
    };
  });
  expect(readLimits(area.cgroup)).toEqual({
    cpuQuotaUs: 20000,
    cpuPeriodUs: 100000,
    // 256 shares are a quarter of what a container without a wish has; so is a weight of 35 (resources' conversion).
    cpuWeightOrShares: probe().cgroupMode === "v2" ? 35 : 256,
    memoryLimitBytes: 32 << 20,
    pidsMax: 11,
    cpusetCpus: "0",
  });
  expect(readFileSync(`/proc/${started.init.pid}/status`, "utf8")).toMatch(/Cpus_allowed_list:\t0\n/);
  expect(readUsage(area.cgroup)).toMatchObject({ pids: 1, oomKills: 0, memoryLimitBytes: 32 << 20 });
  expect(isAlive(started.init)).toBe(true);
  expect(isAlive({ pid: started.init.pid, startTicks: started.init.startTicks + 1 })).toBe(false);
  expect(sendSignal({ pid: started.init.pid, startTicks: started.init.startTicks + 1 }, 9)).toBe(false);
  killAll(area.cgroup);
  expect(await area.ended(started)).toMatchObject({ exitCode: null, signal: 9, oomKilled: false });
  expect(sendSignal(started.init, 9)).toBe(false);
});

test("death by memory limit is recorded as such", async () => {
  await using area = new Area();
  const { exit } = await area.run(
    ["sh", "-c", "dd if=/dev/zero of=/dev/shm/big bs=1M count=40; dd if=/dev/zero of=/dev/null bs=60M count=1"],
    (input) => {
      input.spec.mounts = input.spec.mounts!.map((mount) =>
        mount.destination === "/dev/shm" ? { ...mount, options: ["size=64m"] } : mount,
      );
      input.spec.linux!.resources = { memory: { limit: 16 << 20 } };
    },
  );
  expect(exit.oomKilled).toBe(true);
});

test("binds are confined below their root and read-only when asked", async () => {
  await using area = new Area();
  const share = join(area.path, "share");
  mkdirSync(join(share, "data"), { recursive: true });
  writeFileSync(join(share, "data/file"), "from the host\n");
  const withBind = (source: string, options: string[], idmap: boolean) => (input: PlanInput) => {
    const at = input.spec.mounts!.length;
    input.spec.mounts = [...input.spec.mounts!, { destination: "/data", type: "bind", source, options }];
    input.binds = { [at]: { beneath: share, idmap } };
  };
  const { stdout } = await area.run(
    ["sh", "-c", "cat /data/file; touch /data/new; echo $?"],
    withBind(join(share, "data"), ["bind", "ro"], false),
  );
  expect(stdout).toBe("from the host\n1\n");
  await using second = new Area();
  await second.run(["touch", "/data/mine"], withBind(join(share, "data"), ["bind"], true));
  // Id-mapped: root inside writes as root outside, not as 268435456.
  expect(statSync(join(share, "data/mine")).uid).toBe(0);
  await using third = new Area();
  symlinkSync("/etc", join(share, "escape"));
  await expect(third.start(["true"], withBind(join(share, "escape"), ["bind"], false))).rejects.toMatchObject({
    step: "mount /data",
    code: "EXDEV",
  });
});

test("output is logged by line; a container without a reader is never blocked", async () => {
  await using area = new Area();
  const { exit, stdout } = await area.run(["sh", "-c", "seq 1 20000; echo -n end; echo oops >&2"], (input) => {
    input.log = { path: area.log, maxBytes: 32768, maxFiles: 3 };
  });
  expect(exit.exitCode).toBe(0);
  expect(stdout.endsWith("20000\nend")).toBe(true);
  expect(existsSync(`${area.log}.2`)).toBe(true);
  expect(existsSync(`${area.log}.3`)).toBe(false);
  expect(statSync(`${area.log}.1`).size).toBeLessThanOrEqual(32768);
});

test("stdio given to start is used when there is no log, and nothing else of the caller leaks", async () => {
  await using area = new Area();
  const extra = Array.from({ length: 100 }, () => openSync("/", "r"));
  const out = openSync(join(area.path, "out"), "w");
  const started = await area.start(
    ["sh", "-c", "ls /proc/1/fd; readlink /proc/1/cwd"],
    (input) => void (input.log = null),
    { stdio: [-1, out, out] },
  );
  await area.ended(started);
  for (const fd of [...extra, out]) closeSync(fd);
  expect(readFileSync(join(area.path, "out"), "utf8")).toBe("0\n1\n2\n/\n");
});

test("a lease that nobody renews ends the container", async () => {
  await using area = new Area();
  const page = join(area.path, "lease");
  const bytes = Buffer.alloc(4096);
  bytes.writeBigUInt64LE(0x4255_4c4b_4c45_4153n, 0);
  bytes.writeBigUInt64LE(BigInt(Math.round(Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]) * 1e9)), 8);
  writeFileSync(page, bytes);
  const started = await area.start(["sleep", "1000"], (input) => void (input.lease = { page, leaseMs: 300 }));
  expect(await area.ended(started)).toMatchObject({ signal: 9, leaseExpired: true });
});

test("a container outlives the process that started it and its end is recorded", async () => {
  await using area = new Area();
  const input = JSON.stringify(area.input(["sh", "-c", "while ! test -e /go; do :; done; exit 9"]));
  const facade = new URL("index.ts", import.meta.url).href;
  const code = `const { compilePlan, start } = await import(${JSON.stringify(facade)}); await start(compilePlan(${input})); setInterval(() => {}, 1e6);`;
  const agent = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: "inherit" });
  // The status comes before the entrypoint runs, when the process still sees the host's root.
  const entered = (): boolean => {
    const init = readStatus(area.runDir)?.init;
    return init !== undefined && readFileSync(`/proc/${init.pid}/cmdline`, "utf8").startsWith("sh");
  };
  await eventually(entered, "a started container");
  const status = readStatus(area.runDir)!;
  agent.kill("SIGKILL");
  await new Promise((resolve) => agent.once("exit", resolve));
  expect(isAlive(status.init)).toBe(true);
  expect(readExit(area.runDir)).toBeNull();
  const ended = watchExit(status.shim).exited;
  writeFileSync(`/proc/${status.init.pid}/root/go`, "");
  await ended;
  expect(readExit(area.runDir)).toMatchObject({ exitCode: 9 });
});

test("layers stack, and attaching them as older kernels need gives the same root", async () => {
  for (const attachLayers of [false, true]) {
    await using area = new Area();
    const top = join(area.path, "top");
    mkdirSync(join(top, "etc"), { recursive: true });
    chmodSync(top, 0o755);
    writeFileSync(join(area.layer, "etc/which"), "below\n");
    writeFileSync(join(top, "etc/which"), "above\n");
    const { stdout } = await area.run(
      ["sh", "-c", "cat /etc/which; touch /written; stat -c %u /etc/which; echo ok"],
      (input) => {
        input.rootfs = { ...input.rootfs, layers: [top, area.layer] } as typeof input.rootfs;
        input.testing = { attachLayers };
      },
    );
    expect(stdout).toBe("above\n0\nok\n");
    expect(existsSync(join(area.path, "upper/written"))).toBe(true);
  }
});

test("an end that comes before anybody asks for it is told to whoever asks then", async () => {
  await using area = new Area();
  const started = await area.start(["true"]);
  await watchExit(started.shim).exited;
  await expect(started.watchEnd()).resolves.toBeUndefined();
});
