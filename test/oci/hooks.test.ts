import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { eventually, Place } from "./runtime.ts";

interface Line {
  moment: string;
  status: string;
  pid: number;
  id: string;
  bundle: string;
  directory: string;
  args: string;
  environment: string;
}

/** A hook that notes what it was given; for those of the container's namespaces the file lies in its root. */
const note = (place: Place): string =>
  place.script(
    "note",
    `state=$(cat); printf '%s\\n' "{\\"moment\\":\\"$1\\",\\"directory\\":\\"$(pwd)\\",\\"args\\":\\"$0 $*\\",\\"environment\\":\\"$MARK\\",\\"state\\":$state}" >>"$2"`,
  );

const lines = (path: string): Line[] =>
  readFileSync(path, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => {
      const { state, ...rest } = JSON.parse(line);
      return { ...rest, ...state };
    });

test("hooks run in the order and with the state of the specification", async () => {
  await using place = new Place();
  const path = note(place);
  const out = join(place.path, "hooks");
  const hook = (moment: string) => [
    { path, args: ["given-name", moment, out], env: ["MARK=yes", "PATH=/usr/bin:/bin"] },
  ];
  const moments = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
  const bundle = place.bundle(["sh", "-c", "sleep 1000"], (config) => {
    config.hooks = Object.fromEntries(moments.map((moment) => [moment, hook(moment)]));
    // In the container's namespaces: found in its root, and the host's state is on its standard input too.
    config.hooks["startContainer"] = [
      {
        path: "/bin/sh",
        args: ["sh", "-c", "cat >/tmp/startContainer; readlink /proc/self/ns/mnt >>/tmp/startContainer"],
      },
    ];
  });
  await place.create("one", bundle);
  const { pid } = await place.state("one");
  expect(lines(out).map(({ moment, status }) => [moment, status])).toEqual([
    ["prestart", "creating"],
    ["createRuntime", "creating"],
    ["createContainer", "creating"],
  ]);
  for (const line of lines(out)) expect(line).toMatchObject({ pid, id: "one", bundle, environment: "yes" });
  expect(lines(out)[0]).toMatchObject({ directory: bundle });
  expect(existsSync(join(place.rootfs, "tmp/startContainer"))).toBe(false);
  await place.must(["start", "one"]);
  const inside = readFileSync(join(place.rootfs, "tmp/startContainer"), "utf8");
  expect(inside).toContain('"status":"created"');
  expect(inside).toContain("mnt:[");
  expect(lines(out).at(-1)).toMatchObject({ moment: "poststart", status: "running", pid });
  await place.must(["kill", "one", "KILL"]);
  await eventually("stopped", async () => (await place.state("one")).status === "stopped" || undefined);
  await place.must(["delete", "one"]);
  expect(lines(out).at(-1)).toMatchObject({ moment: "poststop", status: "stopped", pid: 0 });
});

test("a createContainer hook sees the container's mounts from outside its root", async () => {
  await using place = new Place();
  const out = join(place.path, "seen");
  const hook = place.script(
    "look",
    `cat >/dev/null; readlink /proc/self/ns/mnt >"${out}"; grep -c "${place.rootfs}" /proc/self/mountinfo >>"${out}"; exit 0`,
  );
  const bundle = place.bundle(["readlink", "/proc/self/ns/mnt"], (config) => {
    config.hooks = { createContainer: [{ path: hook, env: ["PATH=/usr/bin:/bin"] }] };
  });
  const { status, stdout } = await place.run(["run", "--bundle", bundle, "one"]);
  expect(status).toBe(0);
  expect(readFileSync(out, "utf8").split("\n")[0]).toBe(stdout.trim());
});

test.for(["prestart", "createRuntime", "createContainer"])(
  "a failed %s hook undoes the container",
  async (moment, { expect }) => {
    await using place = new Place();
    const failing = place.script("fail", "exit 9");
    const bundle = place.bundle(["true"], (config) => {
      config.hooks = { [moment]: [{ path: failing }] };
    });
    const { status, stderr } = await place.run(["run", "--bundle", bundle, "one"]);
    expect(status).toBe(1);
    expect(stderr).toContain("fail: exit status 9");
    expect((await place.run(["state", "one"])).stderr).toContain("does not exist");
    expect(place.cgroups()).toEqual([]);
  },
);

test("a hook that takes longer than its timeout is killed and fails", async () => {
  await using place = new Place();
  const pidFile = join(place.path, "hook.pid");
  const slow = place.script("slow", `echo $$ >"${pidFile}"; exec sleep 1000`);
  const bundle = place.bundle(["true"], (config) => {
    config.hooks = { createRuntime: [{ path: slow, timeout: 1, env: ["PATH=/usr/bin:/bin"] }] };
  });
  const { status, stderr } = await place.run(["run", "--bundle", bundle, "one"]);
  expect(status).toBe(1);
  expect(stderr).toContain("Timer expired");
  expect(existsSync(`/proc/${readFileSync(pidFile, "utf8").trim()}`)).toBe(false);
  expect(place.cgroups()).toEqual([]);
});

test("a failed startContainer hook is told by start, and the program never runs", async () => {
  await using place = new Place();
  const bundle = place.bundle(["touch", "/tmp/ran"], (config) => {
    config.hooks = { startContainer: [{ path: "/bin/sh", args: ["sh", "-c", "exit 4"] }] };
  });
  await place.create("one", bundle);
  const { status, stderr } = await place.run(["start", "one"]);
  expect(status).toBe(1);
  expect(stderr).toContain("/bin/sh: exit status 4");
  await eventually("stopped", async () => (await place.state("one")).status === "stopped" || undefined);
  expect(existsSync(join(place.rootfs, "tmp/ran"))).toBe(false);
});

test("a failed poststart hook stops the container; a failed poststop hook only warns", async () => {
  await using place = new Place();
  const failing = place.script("fail", "exit 9");
  const bundle = place.bundle(["sleep", "1000"], (config) => {
    config.hooks = { poststart: [{ path: failing }], poststop: [{ path: failing }] };
  });
  await place.create("one", bundle);
  expect((await place.run(["start", "one"])).stderr).toContain("poststart hook");
  await eventually("stopped", async () => (await place.state("one")).status === "stopped" || undefined);
  const { status, stderr } = await place.run(["delete", "one"]);
  expect(status).toBe(0);
  expect(stderr).toMatch(/level=.?warning.? msg="poststop hook/);
});
