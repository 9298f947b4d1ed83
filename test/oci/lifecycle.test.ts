import { closeSync, existsSync, mkdirSync, openSync, readFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { eventually, execute, Place, runtimePath } from "./runtime.ts";

/** A zombie that its adopter has not reaped yet does not live. */
const alive = (pid: number): boolean =>
  existsSync(`/proc/${pid}/stat`) && !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");

test("a container goes from created to running to stopped, and its state says so", async () => {
  await using place = new Place();
  const bundle = place.bundle(["sh", "-c", "echo started; sleep 1000"], (config) => {
    config.annotations = { "org.example.key": "value" };
  });
  const pidFile = join(place.path, "pid");
  await place.create("one", bundle, "--pid-file", pidFile);
  const created = await place.state("one");
  expect(created).toMatchObject({
    ociVersion: "1.0.2",
    id: "one",
    status: "created",
    bundle,
    annotations: { "org.example.key": "value" },
  });
  expect(Number(readFileSync(pidFile, "utf8"))).toBe(created.pid);
  expect(place.said("one")).toBe("");

  await place.must(["start", "one"]);
  expect(await place.state("one")).toMatchObject({ status: "running", pid: created.pid });
  await eventually("its first line", () => place.said("one") === "started\n" || undefined);

  await place.must(["kill", "one", "KILL"]);
  await eventually("stopped", async () => (await place.state("one")).status === "stopped" || undefined);
  expect((await place.state("one")).pid).toBe(0);
  await place.must(["delete", "one"]);
  expect((await place.run(["state", "one"])).stderr).toContain("container does not exist: one");
  expect(place.cgroups()).toEqual([]);
});

test("operations in the wrong state are errors that change nothing", async () => {
  await using place = new Place();
  const bundle = place.bundle(["sleep", "1000"]);
  await place.create("one", bundle);
  const again = await place.run(["create", "--bundle", place.bundle(["true"]), "one"]);
  expect(again).toMatchObject({ status: 1, stderr: expect.stringContaining("exists already") });
  expect((await place.run(["pause", "one"])).stderr).toContain("container is not running: created");
  await place.must(["start", "one"]);
  expect((await place.run(["start", "one"])).stderr).toContain("cannot start a container that is running");
  expect((await place.run(["delete", "one"])).stderr).toContain("not stopped: running");
  expect((await place.run(["resume", "one"])).stderr).toContain("container is not paused: running");
  expect((await place.run(["kill", "one", "NOSUCH"])).stderr).toContain("unknown signal NOSUCH");
  expect((await place.state("one")).status).toBe("running");
  await place.must(["kill", "one", "9"]);
  await eventually("stopped", async () => (await place.state("one")).status === "stopped" || undefined);
  for (const args of [
    ["kill", "one"],
    ["exec", "one", "true"],
    ["start", "one"],
    ["update", "one"],
  ]) {
    expect((await place.run(args)).status).not.toBe(0);
  }
  await place.must(["delete", "one"]);
  await place.must(["delete", "--force", "one"]);
  expect((await place.run(["delete", "one"])).status).toBe(1);
});

test("ids that could name something else are refused", async () => {
  await using place = new Place();
  const bundle = place.bundle(["true"]);
  for (const id of ["", "..", ".hidden", "a/b", "a b", "x".repeat(256)]) {
    const { status, stderr } = await place.run(["run", "--bundle", bundle, id]);
    expect({ id, status, refused: stderr.includes("is not of") }).toEqual({ id, status: 1, refused: true });
  }
  expect(existsSync(place.root) ? readdirSync(place.root) : []).toEqual([]);
});

test("run answers the program's exit status and leaves nothing", async () => {
  await using place = new Place();
  const exit = await place.run(["run", "--bundle", place.bundle(["sh", "-c", "cat; exit 3"]), "a"], { input: "in\n" });
  expect(exit).toMatchObject({ status: 3, stdout: "in\n", stderr: "" });
  const killed = await place.run(["run", "--bundle", place.bundle(["sh", "-c", "kill -KILL $$"]), "b"]);
  // The first process of a pid namespace is not killed by its own signals.
  expect(killed.status).toBe(0);
  expect(readdirSync(place.root)).toEqual([]);
  expect(place.cgroups()).toEqual([]);
});

test("run forwards signals to the program", async () => {
  await using place = new Place();
  const bundle = place.bundle([
    "sh",
    "-c",
    "trap 'echo caught; exit 5' TERM; echo ready; while :; do sleep 0.05; done",
  ]);
  const script = `"$@" & pid=$!; until grep -q ready "${place.output("a")}"; do :; done; kill -TERM $pid; wait $pid`;
  const { status } = await execute("sh", [
    "-c",
    `exec >"${place.output("a")}"; ${script}`,
    "sh",
    runtimePath,
    "--root",
    place.root,
    "run",
    "--bundle",
    bundle,
    "a",
  ]);
  expect(place.said("a")).toBe("ready\ncaught\n");
  expect(status).toBe(5);
});

test("a program that cannot be executed is told at create, in words that engines know", async () => {
  await using place = new Place();
  writeFileSync(join(place.rootfs, "etc/plain"), "data\n", { mode: 0o644 });
  for (const [program, status, reason] of [
    ["nothere", 127, 'exec: "nothere": executable file not found in $PATH'],
    ["/bin/nothere", 127, 'exec: "/bin/nothere": no such file or directory'],
    ["/etc/plain", 126, 'exec: "/etc/plain": permission denied'],
  ] as const) {
    const ran = await place.run(["run", "--bundle", place.bundle([program]), "a"]);
    expect(ran.status).toBe(status);
    expect(ran.stderr).toContain(reason.replaceAll('"', '\\"'));
    expect(readdirSync(place.root)).toEqual([]);
    expect(place.cgroups()).toEqual([]);
  }
});

test("a failure is one JSON line in the log, and text for people", async () => {
  await using place = new Place();
  const log = join(place.path, "log");
  const { status, stderr } = await place.run(["--log", log, "--log-format", "json", "state", "none"]);
  expect(status).toBe(1);
  expect(stderr).toBe("bulkhead-oci: container does not exist: none\n");
  expect(JSON.parse(readFileSync(log, "utf8"))).toEqual({
    level: "error",
    msg: "container does not exist: none",
    time: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/),
  });
});

test("malformed bundles and options are refused with the place of the fault, and leave nothing", async () => {
  await using place = new Place();
  const broken = place.bundle(["true"]);
  writeFileSync(join(broken, "config.json"), "{");
  const cases: [string, string][] = [
    [join(place.path, "nowhere"), "bundle: realpath"],
    [broken, "config.json"],
    [place.bundle(["true"], (config) => (config.ociVersion = "2.0.0")), 'ociVersion "2.0.0" is not 1.x'],
    [place.bundle([]), "/process/args must not be empty"],
    [place.bundle(["true"], (config) => (config.root.path = "nowhere")), "rootfs: realpath"],
    [place.bundle(["true"], (config) => (config.linux.cgroupsPath = "/../x")), "cgroupsPath must not contain '..'"],
    [place.bundle(["true"], (config) => (config.linux.cgroupsPath = "/")), "must not be the root of a hierarchy"],
    [place.bundle(["true"], (config) => config.linux.namespaces.push({ type: "pid" })), "is given twice"],
    [place.bundle(["true"], (config) => (config.hooks = { poststart: [{ path: "rel" }] })), "must be an absolute path"],
    [place.bundle(["true"], (config) => (config.process.terminal = true)), "needs --console-socket"],
  ];
  for (const [bundle, reason] of cases) {
    const { status, stderr } = await place.run(["create", "--bundle", bundle, "a"]);
    const told = stderr.replaceAll('\\"', '"');
    expect({ reason, status, told }).toEqual({ reason, status: 1, told: expect.stringContaining(reason) });
    expect(existsSync(place.root) ? readdirSync(place.root) : []).toEqual([]);
    expect(place.cgroups()).toEqual([]);
  }
  const options: [string[], string][] = [
    [["frob"], "unknown command frob"],
    [["--frob", "list"], "unknown option --frob"],
    [["list", "--format"], "needs a value"],
    [["list", "--format", "xml"], "--format is table or json"],
    [["state"], "usage: bulkhead-oci state"],
    [["create", "--preserve-fds", "129", "--bundle", broken, "a"], "from 0 to 128"],
    [["create", "--preserve-fds", "90", "--bundle", broken, "a"], "is not open"],
    [["--rootless=true", "list"], "rootless containers are not supported"],
  ];
  for (const [args, reason] of options) {
    const { status, stderr } = await place.run(args);
    expect({ args, status, stderr }).toEqual({ args, status: 1, stderr: expect.stringContaining(reason) });
  }
});

test("two containers never share a cgroup that one of them was given", async () => {
  await using place = new Place();
  const path = `/${place.cgroup}/same`;
  const same = (): string => place.bundle(["sleep", "1000"], (config) => (config.linux.cgroupsPath = path));
  await place.create("one", same());
  const { status, stderr } = await place.run(["create", "--bundle", same(), "two"]);
  expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining("has processes already") });
  expect((await place.state("one")).status).toBe("created");
});

test("list shows what there is, as a table, as JSON and as ids", async () => {
  await using place = new Place();
  expect(JSON.parse(await place.must(["list", "--format", "json"]))).toEqual([]);
  for (const id of ["b", "a"]) await place.create(id, place.bundle(["sleep", "1000"]));
  await place.must(["start", "a"]);
  expect(await place.must(["list", "--quiet"])).toBe("a\nb\n");
  const rows = JSON.parse(await place.must(["list", "--format", "json"]));
  expect(rows.map((row: { id: string; status: string }) => [row.id, row.status])).toEqual([
    ["a", "running"],
    ["b", "created"],
  ]);
  expect(await place.must(["list"])).toMatch(/^ID +PID +STATUS +CREATED +BUNDLE\na +\d+ +running /);
});

test("an id that a killed runtime left is deleted by force", async () => {
  await using place = new Place();
  // What is there after a kill at each step: the directory, then the record, then a process that nobody let go.
  mkdirSync(join(place.root, "empty"), { recursive: true });
  expect((await place.state("empty")).status).toBe("stopped");
  await place.must(["delete", "--force", "empty"]);
  await place.create("half", place.bundle(["sleep", "1000"]));
  const { pid } = await place.state("half");
  await execute("mv", [join(place.root, "half/gate"), join(place.root, "half/gate.closed")]);
  expect((await place.state("half")).status).toBe("creating");
  expect((await place.run(["start", "half"])).stderr).toContain("cannot start a container that is creating");
  await place.must(["delete", "--force", "half"]);
  expect(alive(pid)).toBe(false);
  expect(place.cgroups()).toEqual([]);
});

test("a runtime killed at any moment of create leaves an id that can be deleted and used again", async () => {
  await using place = new Place();
  const bundle = place.bundle(["sleep", "1000"]);
  const seen = new Set<string>();
  for (let round = 0; round < 40; round += 1) {
    // The delay grows over the whole time that a create takes, which differs between machines.
    const delay = ((round + 1) * 0.0005).toFixed(4);
    // To a file: a container that came to be would hold a pipe open.
    const create = [runtimePath, "--root", place.root, "create", "--bundle", bundle, "a"];
    await execute("sh", ["-c", 'exec timeout -s KILL "$@" </dev/null >/dev/null 2>&1', "sh", delay, ...create]);
    const left = existsSync(join(place.root, "a"));
    seen.add(left ? (await place.state("a")).status : "nothing");
    // What was started goes on by itself for a moment; force ends that too.
    await eventually("deleted", async () => (await place.run(["delete", "--force", "a"])).status === 0 || undefined);
    await eventually("no cgroups", () => place.cgroups().length === 0 || undefined);
  }
  await place.create("a", bundle);
  expect((await place.state("a")).status).toBe("created");
  expect(seen.size).toBeGreaterThan(1);
});

test("what a container reaches of the runtime as /proc/PID/exe cannot be written, even when nobody runs it", async () => {
  await using place = new Place();
  await place.create("one", place.bundle(["sleep", "1000"]));
  const { pid } = await place.state("one");
  const pathOnly = 0o10000000;
  const held = openSync(`/proc/${pid}/exe`, pathOnly);
  try {
    await place.must(["delete", "--force", "one"]);
    expect(alive(pid)).toBe(false);
    expect(() => openSync(`/proc/self/fd/${held}`, "r+")).toThrow("EROFS");
  } finally {
    closeSync(held);
  }
});

test("bulkhead oci becomes the runtime, with its options, input and exit status", async () => {
  await using place = new Place();
  const main = fileURLToPath(new URL("../../apps/cli/src/main.ts", import.meta.url));
  const bundle = place.bundle(["sh", "-c", "cat; exit 4"]);
  const args = [main, "oci", "--root", place.root, "run", "--bundle", bundle, "one"];
  expect(await execute(process.execPath, args, { input: "in" })).toMatchObject({ status: 4, stdout: "in", stderr: "" });
});

test("systemd's cgroups are refused on a host without systemd", async () => {
  await using place = new Place();
  for (const option of ["--systemd-cgroup", "--cgroup-manager=systemd"]) {
    const { status, stderr } = await place.run([option, "run", "--bundle", place.bundle(["true"]), "one"]);
    expect({ status, stderr }).toEqual({
      status: 1,
      stderr: expect.stringContaining("--systemd-cgroup: this host is not run by systemd"),
    });
  }
  expect(existsSync(place.root) ? readdirSync(place.root) : []).toEqual([]);
});
