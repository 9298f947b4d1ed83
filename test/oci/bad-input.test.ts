// Input that is no input: what the runtime answers, how soon, and that nothing stays.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Config, execute, Place, runtimePath } from "./runtime.ts";

const nothingLeft = (place: Place): unknown[] => [
  ...(existsSync(place.root) ? readdirSync(place.root) : []),
  ...place.cgroups(),
];

test("a config.json that is too long, too deep, cut, or no file is refused at once", async () => {
  await using place = new Place();
  const cases: [string, (file: string) => void, RegExp][] = [
    ["64 MiB of blanks", (file) => (writeFileSync(file, " ".repeat(64 << 20)), undefined), /longer than 4 MiB/],
    ["a sparse 16 GiB", (file) => (writeFileSync(file, ""), truncateSync(file, 16 * 2 ** 30)), /longer than 4 MiB/],
    ["a thousand arrays in each other", (file) => writeFileSync(file, "[".repeat(1000)), /too deep or too large/],
    ["a million numbers", (file) => writeFileSync(file, `[${"1,".repeat(999_999)}1]`), /too deep or too large/],
    ["no object", (file) => writeFileSync(file, '"text"'), /ociVersion/],
    ["nothing", (file) => writeFileSync(file, ""), /config.json: /],
    ["bytes that are no UTF-8", (file) => writeFileSync(file, Buffer.from([0x22, 0xff, 0xfe, 0x22])), /encoding/],
    ["a pipe", (file) => execFileSync("mkfifo", [file]), /config.json is no file/],
    ["a directory", (file) => mkdirSync(file), /config.json is no file/],
    ["a device", (file) => symlinkSync("/dev/zero", file), /config.json is no file/],
    ["a link to nowhere", (file) => symlinkSync("/nowhere", file), /config.json: .*No such file/],
  ];
  for (const [what, write, reason] of cases) {
    const bundle = place.bundle(["true"]);
    execFileSync("rm", [join(bundle, "config.json")]);
    write(join(bundle, "config.json"));
    const { status, stderr } = await place.run(["run", "--bundle", bundle, "one"]);
    expect({ what, status, stderr }).toEqual({ what, status: 1, stderr: expect.stringMatching(reason) });
    expect(nothingLeft(place)).toEqual([]);
  }
});

test("values of the wrong type are told by their place", async () => {
  await using place = new Place();
  const cases: [string, (config: Config) => unknown][] = [
    ["/process/args", (config) => (config.process["args"] = "true" as unknown as string[])],
    ["/process/args/0", (config) => (config.process.args = [7 as unknown as string])],
    ["/process/cwd", (config) => (config.process.cwd = "relative")],
    ["/process/user/uid", (config) => (config.process.user.uid = -1)],
    ["/process/rlimits/0/type", (config) => (config.process["rlimits"] = [{ type: "RLIMIT_NONE", soft: 1, hard: 1 }])],
    ["/process/execCPUAffinity", (config) => (config.process["execCPUAffinity"] = [])],
    ["/mounts/0/type", (config) => (config.mounts[0]!.type = "nfs")],
    ["/mounts/0/destination", (config) => (config.mounts[0]!.destination = "/a/../b")],
    ["/linux/namespaces/0/type", (config) => (config.linux.namespaces[0]!.type = "none")],
    ["/linux/resources/memory/limit", (config) => (config.linux["resources"] = { memory: { limit: "1g" } })],
    ["/linux/sysctl/kernel.panic", (config) => (config.linux["sysctl"] = { "kernel.panic": "1" })],
    ["/linux/seccomp", (config) => (config.linux["seccomp"] = { defaultAction: "SCMP_ACT_NONE" })],
    ["/linux/intelRdt", (config) => (config.linux["intelRdt"] = { closID: "x" })],
    ["/linux/devices/0/type", (config) => (config.linux["devices"] = [{ path: "/dev/x", type: "p" }])],
  ];
  for (const [pointer, change] of cases) {
    const { status, stderr } = await place.run(["run", "--bundle", place.bundle(["true"], change), "one"]);
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(`config.json: ${pointer}`) });
    expect(nothingLeft(place)).toEqual([]);
  }
});

test("a bundle and a root that are reached by links are what the links lead to", async () => {
  await using place = new Place();
  const bundle = place.bundle(["echo", "hello"], (config) => (config.root.path = "root"));
  symlinkSync(place.rootfs, join(bundle, "root"));
  const link = join(place.path, "link");
  symlinkSync(bundle, link);
  await place.create("one", link);
  expect((await place.state("one")).bundle).toBe(bundle);
  await place.must(["start", "one"]);
});

test("a log that cannot be written changes nothing, and a link is followed", async () => {
  await using place = new Place();
  const target = join(place.path, "target");
  symlinkSync(target, join(place.path, "log"));
  const { status } = await place.run(["--log", join(place.path, "log"), "--log-format", "json", "state", "none"]);
  expect([status, JSON.parse(readFileSync(target, "utf8")).msg]).toEqual([1, "container does not exist: none"]);
  execFileSync("mkfifo", [join(place.path, "pipe")]);
  for (const log of [join(place.path, "pipe"), place.path, "/nowhere/log"]) {
    const bundle = place.bundle(["echo", "hello"]);
    const ran = await place.run(["--log", log, "--debug", "run", "--bundle", bundle, "one"]);
    expect({ log, ...ran }).toMatchObject({ log, status: 0, stdout: "hello\n" });
    const failed = await place.run(["--log", log, "state", "none"]);
    expect({ log, ...failed }).toMatchObject({
      log,
      status: 1,
      stderr: "bulkhead-oci: container does not exist: none\n",
    });
  }
});

test("a pid file or a state that finds no room is a create that leaves nothing", async () => {
  await using place = new Place();
  const full = join(place.path, "full");
  mkdirSync(full);
  const onFullDisk = (command: string) =>
    execute("unshare", [
      "--mount",
      "sh",
      "-c",
      `mount -t tmpfs -o size=16k,nr_inodes=8 full ${full} && { head -c 64k /dev/zero >${full}/filler; ${command}; }`,
    ]);
  const bundle = place.bundle(["sleep", "1000"]);
  const create = (root: string, more: string) =>
    onFullDisk(`${runtimePath} --root ${root} create --bundle ${bundle} ${more} one </dev/null`);
  const pidFile = await create(place.root, `--pid-file ${full}/pid`);
  expect(pidFile).toMatchObject({ status: 1, stderr: expect.stringMatching(/pid file: .*No space left on device/) });
  expect(nothingLeft(place)).toEqual([]);
  const state = await create(`${full}/state`, "");
  expect(state).toMatchObject({ status: 1, stderr: expect.stringMatching(/state: .*No space left on device/) });
  expect(nothingLeft(place)).toEqual([]);
  const missing = await place.run(["create", "--bundle", bundle, "--pid-file", "/nowhere/pid", "one"]);
  expect(missing).toMatchObject({ status: 1, stderr: expect.stringContaining("pid file: ") });
  expect(nothingLeft(place)).toEqual([]);
});
