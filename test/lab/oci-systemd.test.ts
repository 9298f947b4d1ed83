// --systemd-cgroup where systemd is: containers are scopes that systemd knows, by hand and as podman uses them.
import { afterAll, beforeAll, expect, test } from "vitest";
import { runtimePath } from "../oci/runtime.ts";
import { Lab } from "./lab.ts";

const patient = { timeoutMs: 120_000 };

/** podman's own files say what its options cannot: health checks are run by systemd, without options of ours. */
const configuration = {
  "containers.conf": `[engine]
cgroup_manager = "systemd"
events_logger = "file"
runtime = "bulkhead"
[engine.runtimes]
bulkhead = ["${runtimePath}"]
[containers]
log_driver = "k8s-file"
netns = "none"
`,
  "storage.conf": `[storage]
driver = "vfs"
graphroot = "/tmp/containers/graph"
runroot = "/tmp/containers/run"
`,
  "policy.json": '{"default":[{"type":"insecureAcceptAnything"}]}',
};

const bundle = (cgroupsPath: string, args: string[], more: object = {}): string =>
  JSON.stringify({
    ociVersion: "1.2.0",
    process: { args, cwd: "/", env: ["PATH=/bin"], user: { uid: 0, gid: 0 }, noNewPrivileges: true },
    root: { path: "/tmp/rootfs" },
    mounts: [{ destination: "/proc", type: "proc", source: "proc" }],
    linux: {
      cgroupsPath,
      namespaces: ["mount", "pid", "ipc", "uts", "network", "cgroup"].map((type) => ({ type })),
      resources: { memory: { limit: 64 << 20 }, pids: { limit: 50 }, cpu: { shares: 512 } },
    },
    ...more,
  });

let lab: Lab;
/** For what must succeed; answers its standard output. */
const must = async (command: string, input?: string): Promise<string> => {
  const { code, stdout, stderr } = await lab.run(command, { ...patient, ...(input === undefined ? {} : { input }) });
  if (code !== 0) throw new Error(`${command} ended with ${code}: ${stdout}${stderr}`);
  return stdout;
};
const oci = (args: string) => `${runtimePath} --systemd-cgroup ${args}`;
const put = (text: string) => must("mkdir -p /tmp/bundle && cat >/tmp/bundle/config.json", text);
const properties = async (unit: string, ...names: string[]): Promise<string[]> =>
  (await must(`systemctl show --value ${names.map((name) => `-p ${name}`).join(" ")} ${unit}`)).trimEnd().split("\n");

beforeAll(async () => {
  lab = await Lab.boot({ init: "systemd", modprobe: [] });
  await must(`mkdir -p /etc/containers /tmp/rootfs/bin /tmp/rootfs/proc /tmp/rootfs/dev /tmp/rootfs/tmp
cp /bin/busybox /tmp/rootfs/bin/
for name in sh true sleep cat touch echo; do ln -s busybox /tmp/rootfs/bin/$name; done`);
  for (const [name, text] of Object.entries(configuration)) await must(`cat >/etc/containers/${name}`, text);
});
afterAll(() => lab[Symbol.asyncDispose]());

test("a container is a scope with its limits, and gone with it", async () => {
  const unit = "mine-one.scope";
  await put(
    bundle("user-tests.slice:mine:one", ["sleep", "1000"], {
      annotations: { "org.systemd.property.TimeoutStopSec": "7" },
    }),
  );
  await must(`cd /tmp/bundle && ${oci("create one")} </dev/null >/dev/null 2>&1 && ${oci("start one")}`);
  // systemctl shows them in an order of its own.
  expect(new Set(await properties(unit, "ActiveState", "Slice", "Delegate", "MemoryMax", "TasksMax"))).toEqual(
    new Set(["active", "user-tests.slice", "yes", String(64 << 20), "50"]),
  );
  expect(await properties(unit, "TimeoutStopUSec")).toEqual(["7s"]);
  expect(await properties(unit, "CPUWeight")).toEqual(["59"]);
  const group = "/sys/fs/cgroup/user.slice/user-tests.slice/mine-one.scope";
  expect(await must(`cat ${group}/container/memory.max ${group}/container/pids.max; ls -d ${group}/*/`)).toBe(
    `${64 << 20}\n50\n${group}/container/\n`,
  );
  expect(await must(oci("exec one cat /proc/self/cgroup"))).toBe("0::/\n");

  await must(oci("update --memory 33554432 --pids-limit 40 one"));
  expect(new Set(await properties(unit, "MemoryMax", "TasksMax"))).toEqual(new Set([String(32 << 20), "40"]));
  expect(await must(`cat ${group}/container/memory.max ${group}/container/pids.max`)).toBe(`${32 << 20}\n40\n`);

  // The engine's own daemon may start anew meanwhile; nothing of ours is in it.
  await must("systemctl daemon-reload");
  expect(await must(oci("exec one echo still"))).toBe("still\n");
  await must(oci("delete --force one"));
  expect(await properties(unit, "LoadState")).toEqual(["not-found"]);
  expect((await lab.run(`ls -d ${group}`, patient)).code).not.toBe(0);
});

test("a program that ends takes its scope along, and its name can be used again at once", async () => {
  await put(bundle(":mine:two", ["sh", "-c", "exit 5"]));
  for (let round = 0; round < 3; round += 1) {
    expect((await lab.run(`cd /tmp/bundle && ${oci("run two")}`, patient)).code).toBe(5);
    expect(await properties("mine-two.scope", "LoadState")).toEqual(["not-found"]);
  }
});

test("what is no scope, and a start that fails, leaves no unit", async () => {
  const attempts: [string, string[], RegExp][] = [
    ["/absolute", ["true"], /must be slice:prefix:name/],
    ["a--b.slice:mine:bad", ["true"], /which is no slice/],
    ["x.slice:mi/ne:bad", ["true"], /makes no name of a unit/],
    [":mine:bad", ["nothere"], /executable file not found/],
  ];
  for (const [path, args, reason] of attempts) {
    await put(bundle(path, args));
    const { code, stderr } = await lab.run(`cd /tmp/bundle && ${oci("run bad")}`, patient);
    expect({ path, code: code !== 0, stderr }).toEqual({ path, code: true, stderr: expect.stringMatching(reason) });
  }
  await put(bundle(":mine:bad", ["true"], { annotations: { "org.systemd.property.Slice": "'x.slice'" } }));
  expect((await lab.run(`cd /tmp/bundle && ${oci("run bad")}`, patient)).stderr).toContain("is no property of a unit");
  await put(bundle(":mine:bad", ["true"], { annotations: { "org.systemd.property.NoSuchThing": "1" } }));
  expect((await lab.run(`cd /tmp/bundle && ${oci("run bad")}`, patient)).stderr).toContain(
    "systemd: StartTransientUnit",
  );
  expect(await must("systemctl list-units --all --no-legend 'mine-*'; ls /run/bulkhead-oci")).toBe("");
});

test("a runtime killed at any moment of create leaves a name that can be used again", async () => {
  await put(bundle(":mine:kill", ["sleep", "1000"]));
  const said = await must(`cd /tmp/bundle
for delay in 0.02 0.04 0.06 0.08 0.1 0.15 0.2 0.3; do
  timeout -s KILL $delay ${oci("create kill")} </dev/null >/dev/null 2>&1
  until ${oci("delete --force kill")} 2>/tmp/why; do :; done
  until [ "$(systemctl show --value -p LoadState mine-kill.scope)" = not-found ]; do :; done
done
${oci("create kill")} </dev/null >/dev/null 2>&1 && ${oci("delete --force kill")} && echo again`);
  expect(said).toBe("again\n");
});

test("podman runs, execs, updates, pauses, stops and removes, and systemd sees the unit", async () => {
  await must("tar -C /tmp/rootfs -cf /tmp/image.tar . && podman import /tmp/image.tar busybox");
  const id = (await must("podman run -d --name web --memory 64m --pids-limit 50 busybox sleep 1000")).trim();
  const unit = `libpod-${id}.scope`;
  expect(new Set(await properties(unit, "ActiveState", "Slice", "MemoryMax", "TasksMax"))).toEqual(
    new Set(["active", "machine.slice", String(64 << 20), "50"]),
  );
  expect(await must("podman exec web echo inside")).toBe("inside\n");
  await must("podman update --memory 48m web");
  expect(await properties(unit, "MemoryMax")).toEqual([String(48 << 20)]);
  await must("podman pause web");
  expect(await must("podman inspect --format '{{.State.Status}}' web")).toBe("paused\n");
  await must("podman unpause web");
  expect(await must("podman stats --no-stream --format '{{.PIDs}}' web")).toBe("1\n");
  await must("podman stop --time 1 web");
  expect(await properties(unit, "LoadState")).toEqual(["not-found"]);
  await must("podman rm web");
  expect(await must(oci("list --quiet"))).toBe("");
});

test("podman's health checks are run by systemd's timers", async () => {
  const id = await must(
    `podman run -d --name checked --health-cmd "test -e /tmp/good || { touch /tmp/good; exit 1; }" --health-interval 1s busybox sleep 1000`,
  ).then((text) => text.trim());
  // The first check fails, so "healthy" is the answer of a second one that nobody asked for by hand.
  const status = await must(
    `until [ "$(podman inspect --format '{{.State.Healthcheck.Status}}' checked)" = healthy ]; do :; done; systemctl list-timers --no-legend --all`,
  );
  expect(status).toContain(`${id}.timer`);
  await must("podman rm --force --time 0 checked");
});
