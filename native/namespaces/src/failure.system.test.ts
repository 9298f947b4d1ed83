// Starts that must fail: the reason is exact, and the host holds nothing of them afterwards.
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { Area, eventually, hostState } from "../test/fixture.ts";
import { compilePlan, initPath, NativeError, type PlanInput, readStatus, start, type StartOptions } from "./index.ts";

/** The NativeError of a start, after asserting that nothing is left of it. */
async function refusal(
  area: Area,
  args: readonly string[],
  change?: (input: PlanInput) => void,
  options?: StartOptions,
): Promise<NativeError> {
  const before = hostState();
  const error = await area.start(args, change, options).then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof NativeError)) throw new Error(`expected a NativeError, got ${String(error)}`);
  expect(area.cgroupsLeft()).toEqual([]);
  expect(readStatus(area.runDir)).toBeNull();
  expect(hostState().mounts).toEqual(before.mounts);
  const gone = (): boolean => hostState().children.every((pid) => before.children.includes(pid));
  await eventually(gone, "the shim is gone and reaped");
  return error;
}

test("an entrypoint that is missing, not executable, or for another machine says so", async () => {
  await using area = new Area();
  writeFileSync(join(area.layer, "bin/plain"), "no program", { mode: 0o644 });
  const foreign = Buffer.from(readFileSync("/bin/busybox").subarray(0, 4096));
  foreign.writeUInt16LE(183, 18); // EM_AARCH64
  writeFileSync(join(area.layer, "bin/foreign"), foreign, { mode: 0o755 });
  writeFileSync(join(area.layer, "bin/script"), "#!/no/such/interpreter\n", { mode: 0o755 });
  const cases = [
    ["nope", "ENOENT"],
    ["/bin/nope", "ENOENT"],
    ["plain", "EACCES"],
    ["/bin/plain", "EACCES"],
    ["/etc", "EACCES"],
    ["foreign", "ENOEXEC"],
    ["script", "ENOENT"],
  ] as const;
  for (const [program, code] of cases) {
    const error = await refusal(area, [program]);
    expect({ program, error }).toMatchObject({ error: { step: "exec", op: "execve", code } });
  }
});

test("an image whose /proc, /sys or /dev is a link or a file is refused, and the target untouched", async () => {
  for (const name of ["proc", "sys", "dev"]) {
    for (const target of ["/", "/etc", "../../../..", "file"]) {
      await using area = new Area();
      if (target === "file") writeFileSync(join(area.layer, name), "");
      else symlinkSync(target, join(area.layer, name));
      const error = await refusal(area, ["true"]);
      expect({ target, error }).toMatchObject({ error: { step: `mount /${name}`, code: "ENOTDIR" } });
    }
  }
});

test("links in the image on the way to a mount lead to places inside it only", async () => {
  const outside = mkdtempSync("/tmp/bulkhead-native-outside-");
  const bindTo = (area: Area) => (input: PlanInput) => {
    mkdirSync(join(area.path, "share"));
    writeFileSync(join(area.path, "share/file"), "shared\n");
    symlinkSync(outside, join(area.layer, "data"));
    const mount = { destination: "/data", type: "bind", source: join(area.path, "share"), options: ["bind"] };
    input.spec.mounts = [...input.spec.mounts!, mount];
  };
  await using contained = new Area();
  mkdirSync(join(contained.layer, outside), { recursive: true });
  expect((await contained.run(["cat", `${outside}/file`], bindTo(contained))).stdout).toBe("shared\n");
  await using dangling = new Area();
  expect(await refusal(dangling, ["true"], bindTo(dangling))).toMatchObject({ step: "mount /data", code: "ENOENT" });
  expect(readdirSync(outside)).toEqual([]);
  rmdirSync(outside);
});

test("a fake /dev/null cannot turn a mask into a window", async () => {
  await using area = new Area();
  mkdirSync(join(area.layer, "dev"));
  symlinkSync("/proc/sysrq-trigger", join(area.layer, "dev/null"));
  const error = await refusal(area, ["true"], (input) => {
    input.spec.mounts = input.spec.mounts!.filter((mount) => !mount.destination.startsWith("/dev"));
  });
  expect(error).toMatchObject({ step: "masked paths" });
  rmSync(join(area.layer, "dev/null"));
  writeFileSync(join(area.layer, "dev/null"), "a file");
  const second = await refusal(area, ["true"], (input) => {
    input.spec.mounts = input.spec.mounts!.filter((mount) => !mount.destination.startsWith("/dev"));
  });
  expect(second).toMatchObject({ step: "masked paths", code: "ENODEV", path: "/dev/null" });
});

test("no working directory leads out of the root", async () => {
  for (let fd = 3; fd < 24; ++fd) {
    await using area = new Area();
    const error = await refusal(area, ["true"], (input) => void (input.spec.process.cwd = `/proc/self/fd/${fd}`));
    expect({ fd, step: error.step }).toEqual({ fd, step: "working directory" });
  }
  await using linked = new Area();
  symlinkSync("/proc/self/fd/4", join(linked.layer, "work"));
  expect((await refusal(linked, ["true"], (input) => void (input.spec.process.cwd = "/work"))).step).toBe(
    "working directory",
  );
  await using made = new Area();
  const { stdout } = await made.run(["pwd"], (input) => void (input.spec.process.cwd = "/new/deep/place"));
  expect(stdout).toBe("/new/deep/place\n");
});

test("missing host paths are named", async () => {
  await using area = new Area();
  const cases: [(input: PlanInput) => void, object][] = [
    [(input) => void (input.runDir = "/nope/run"), { step: "run directory", code: "ENOENT", path: "/nope/run" }],
    [
      (input) => void (input.log = { path: "/nope/log", maxBytes: 65536, maxFiles: 2 }),
      { step: "log", code: "ENOENT" },
    ],
    [(input) => void (input.lease = { page: "/nope", leaseMs: 1000 }), { step: "lease", code: "ENOENT" }],
    [(input) => void (input.lease = { page: "/etc/passwd", leaseMs: 1000 }), { step: "lease", code: "ENOMSG" }],
    [
      (input) => void (input.rootfs = { ...input.rootfs, layers: ["/nope/layer"] } as typeof input.rootfs),
      { step: "rootfs", code: "ENOENT" },
    ],
    [
      (input) => {
        const { paths } = input.cgroup;
        const wrong = "memory" in paths ? "memory" : "unified";
        input.cgroup = { paths: { ...paths, [wrong]: "/tmp/not-a-cgroup/x" } };
      },
      { step: "cgroup create" },
    ],
    [(input) => void (input.spec.linux!.resources = { cpu: { cpus: "4000" } }), { step: "cgroup limits" }],
  ];
  for (const [change, expected] of cases) expect(await refusal(area, ["true"], change)).toMatchObject(expected);
  expect(existsSync("/tmp/not-a-cgroup")).toBe(false);
});

test("too little memory to set up is a failed start with a step, not a container that never ran", async () => {
  await using area = new Area();
  const error = await refusal(
    area,
    ["true"],
    (input) => void (input.spec.linux!.resources = { memory: { limit: 4096 } }),
  );
  expect(["ENOMEM", "EINVAL", "EBUSY", "ECONNRESET"]).toContain(error.code);
});

test("a plan that is not one is refused by init itself", async () => {
  await using area = new Area();
  const good = compilePlan(area.input(["true"]));
  const hostile = [
    new Uint8Array(1),
    good.bytes.slice(0, 100),
    Buffer.concat([good.bytes, Buffer.from([0])]),
    Buffer.alloc(4096, 0xff),
  ];
  for (const bytes of hostile)
    await expect(start({ bytes, warnings: [] })).rejects.toMatchObject({ step: "plan", code: "EBADMSG" });
  expect(area.cgroupsLeft()).toEqual([]);
});

test("a failure at any step leaves nothing behind", async () => {
  const faults = join(dirname(initPath), "bulkhead-init-faults");
  // The steps of one good start, as it reports them itself.
  await using model = new Area();
  const started = await model.start(["true"], (input) => void (input.testing = { trace: true }));
  await model.ended(started);
  const steps = [...new Set(started.timings!.map((step) => step.name))];
  expect(steps.length).toBeGreaterThan(25);
  for (const step of steps) {
    await using area = new Area();
    const error = await refusal(area, ["true"], (input) => void (input.testing = { faultStep: step }), {
      initPath: faults,
    });
    expect(error).toMatchObject({ step, op: "fault", code: "EIO" });
  }
});

test("a leftover empty cgroup gives way, one with processes does not", async () => {
  await using area = new Area();
  for (const path of Object.values(area.cgroup.paths)) mkdirSync(path);
  expect((await area.run(["true"])).exit.exitCode).toBe(0);
  await using busy = new Area();
  const running = await busy.start(["sleep", "1000"]);
  const status = readStatus(busy.runDir);
  await expect(busy.start(["true"])).rejects.toMatchObject({ step: "cgroup create", code: "EEXIST" });
  expect(readStatus(busy.runDir)).toEqual(status);
  expect(running.init.pid).toBe(status!.init.pid);
});

test("nothing the container did to its image's programs reaches the next start's init", async () => {
  await using area = new Area();
  chmodSync(area.layer, 0o755);
  const before = readFileSync(initPath);
  const script = "for p in /proc/[0-9]*; do echo x > $p/exe; echo x > $p/mem; done 2>/dev/null; echo done";
  expect((await area.run(["sh", "-c", script])).stdout).toBe("done\n");
  expect(readFileSync(initPath).equals(before)).toBe(true);
  renameSync(area.log, `${area.log}.old`);
});
