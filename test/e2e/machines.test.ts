import { join, resolve } from "node:path";
import type { Instance, InstanceView } from "@bulkhead/contracts";
import { busyboxImage } from "@bulkhead/testkit/images";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFleet, type Fleet } from "../fleet.ts";

/** In the checkout, where git ignores it: a kernel is fetched once. */
const kernels = join(resolve(import.meta.dirname, "../.."), "node_modules/.cache/bulkhead-guest-kernels");

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet({ BULKHEAD_KERNEL_DIR: kernels });
  await fleet.importImage("busybox", await busyboxImage());
});
afterAll(() => fleet[Symbol.asyncDispose]());

const memoryBytes = 192 * 2 ** 20;
const diskBytes = 48 * 2 ** 20;
const spec = (isolation: "container" | "vm") => ({
  isolation,
  image: "busybox",
  command: ["sleep", "100000"],
  resources: { cpuMillis: 200, memoryBytes, diskBytes },
});
const say = async (instance: string, script: string): Promise<string> =>
  (await fleet.exec(instance, ["sh", "-c", script])).stdout.trim();
const instanceOf = async (name: string): Promise<Instance> =>
  (await fleet.http("GET", `/v1/instances/${name}`)).body as Instance;

test("one image runs as a container on the host's kernel and as a machine on its own", async () => {
  await fleet.run("box", spec("container"));
  await fleet.run("machine", spec("vm"));
  const [container, machine] = [await instanceOf("box-0"), await instanceOf("machine-0")];
  expect(machine.imageDigest).toBe(container.imageDigest);
  const hostKernel = await say("box-0", "uname -r");
  const ownKernel = await say("machine-0", "uname -r");
  expect(ownKernel).toMatch(/-cloud-amd64$/);
  expect(ownKernel).not.toBe(hostKernel);
  expect(await say("machine-0", "cat /etc/hostname; nproc")).toBe("machine-0\n1");
  const memory = (text: string) => Number(/\d+/.exec(text)?.[0] ?? 0) * 1024;
  expect(memory(await say("machine-0", "grep MemTotal /proc/meminfo"))).toBeLessThan(memoryBytes);
  expect(memory(await say("box-0", "grep MemTotal /proc/meminfo"))).toBeGreaterThan(memoryBytes);
});

test.each(["box-0", "machine-0"])(
  "%s can write as much as its disk holds, and then hears that it is full",
  async (name) => {
    const rootBytes = Number(await say(name, "df -k / | awk 'END {print $2}'")) * 1024;
    expect(rootBytes).toBeLessThanOrEqual(diskBytes);
    expect(rootBytes).toBeGreaterThan(diskBytes / 2);
    expect(await say(name, "dd if=/dev/zero of=/fill bs=1M count=64 2>&1; rm /fill; echo fine > /x && cat /x")).toMatch(
      /No space left on device[^]*fine$/,
    );
  },
);

test("the host says what runs its machines", async () => {
  const [host] = await fleet.hosts();
  const machines = host?.agents.find(({ isolation }) => isolation === "vm")?.facts.machines;
  expect(machines).toMatchObject({ engine: "qemu", kvm: expect.stringMatching(/^(kvm|kvm-emulated|none)$/) });
});

test("a machine and a container find each other in one network, and a port of the machine's is published", async () => {
  const range = { name: "lan", ipv4Range: "198.51.100.192/26" };
  expect((await fleet.http("POST", "/v1/networks", { body: range })).status).toBe(201);
  const page = "mkdir -p /www; hostname > /www/index.html; exec httpd -f -p 80 -h /www";
  const serves = (isolation: "container" | "vm") => ({
    ...spec(isolation),
    command: ["sh", "-c", page],
    network: "lan",
  });
  await fleet.run("near", serves("container"));
  // Without a number of its own: the fleet chooses a port of the host's that is free.
  await fleet.run("far", { ...serves("vm"), ports: [{ containerPort: 80 }] });
  const get = (address: string, port: number) =>
    `printf "GET / HTTP/1.0\\r\\n\\r\\n" | timeout 5 nc ${address} ${port} | tail -n 1`;
  const [near, far] = [await instanceOf("near-0"), await instanceOf("far-0")];
  const addressOf = ({ network }: Instance) => network?.ipv4?.address ?? "";
  const patience = { timeout: 30_000, interval: 200 };
  for (const [from, to, name] of [
    ["near-0", far, "far-0"],
    ["far-0", near, "near-0"],
  ] as const) {
    await expect.poll(() => say(from, `nslookup ${name} 198.51.100.193`), patience).toContain(addressOf(to));
    await expect.poll(() => say(from, get(addressOf(to), 80)), patience).toBe(name);
  }
  const hostPort = far.network?.ports[0]?.hostPort ?? 0;
  await expect.poll(() => say("near-0", get("198.51.100.193", hostPort)), patience).toBe("far-0");
  await fleet.remove("near");
  await fleet.remove("far");
  await expect.poll(async () => (await fleet.http("DELETE", "/v1/networks/lan")).status, patience).toBe(204);
});

test("every channel between a machine and its host is an answer of the API, beside what a container may call", async () => {
  const view = (await fleet.http("GET", "/v1/instances/machine-0/view")).body as InstanceView;
  const { machine } = view;
  expect(machine).toMatchObject({ engine: "qemu", exits: null });
  expect(machine?.channels).toContainEqual(
    expect.objectContaining({ kind: "port", name: "serial port", at: "0x3f8-0x3ff", uses: null }),
  );
  const registers = machine?.channels.filter(({ kind }) => kind === "registers").map(({ name }) => name);
  expect(registers).toEqual(expect.arrayContaining(["virtio-blk image", "virtio-blk scratch", "virtio-serial"]));
  expect(machine?.uncounted).toContainEqual(expect.stringContaining("QEMU counts none of them"));
  // What its monitor holds open is what it was given, and nothing of the host is among it that it may write.
  const files = machine?.files ?? [];
  expect(files).toContainEqual(expect.objectContaining({ target: expect.stringContaining("/machine/scratch") }));
  expect(
    files.filter(({ target, mode }) => target.startsWith("/") && mode !== "r").map(({ target }) => target),
  ).toEqual(expect.not.arrayContaining([expect.stringMatching(/^\/(?!machine\/|dev\/)/)]));
  expect(machine?.systemCalls.reads).toBeGreaterThan(0);
  // The monitor's own system calls, which is all that the host's kernel shows to the guest's software.
  expect(view.seccomp).toMatchObject({ mode: "filter", from: "kernel" });
  expect(view.seccomp.allowed).not.toContain("mount");
  expect(((await fleet.http("GET", "/v1/instances/box-0/view")).body as InstanceView).machine).toBeUndefined();

  const alone = await fleet.cli("view", "machine");
  expect(alone.stdout).toMatch(/^CHANNELS\n {2}serial port port +0x3f8-0x3ff, not counted$/m);
  const both = await fleet.cli("view", "box", "machine");
  expect(both).toMatchObject({ code: 0 });
  expect(both.stdout).toMatch(/^ {2}engine +- +qemu$/m);
  expect(both.stdout).toMatch(/^SYSTEM CALLS$/m);
});

test("what cannot be taken to a snapshot is refused with why, and nothing is left of it", async () => {
  const qemu = await fleet.cli("snapshots", "create", "machine-0");
  expect(qemu).toMatchObject({ code: 1, stderr: expect.stringContaining("SNAPSHOT_UNSUPPORTED") as string });
  expect(qemu.stderr).toContain("the engine qemu takes no machine to files; kvm does");
  const container = await fleet.cli("snapshots", "create", "box-0");
  expect(container.stderr).toContain("box-0 is a container");
  expect(await say("machine-0", "echo it goes on")).toBe("it goes on");
  await expect
    .poll(async () => (await fleet.http("GET", "/v1/snapshots")).body, { timeout: 20_000 })
    .toEqual({
      items: [],
      nextCursor: null,
    });
  expect((await fleet.cli("snapshots")).stdout).toMatch(/^SNAPSHOT +OF +STATE|^$/);
});

test("its machines outlive the agent, and the next one ends them as it should", async () => {
  const before = await instanceOf("machine-0");
  await fleet.kill("vm-node");
  expect(await say("machine-0", "echo still here")).toBe("still here");
  expect((await instanceOf("machine-0")).startedAt).toBe(before.startedAt);
  await fleet.remove("machine");
  await fleet.remove("box");
});

test("what a machine cannot have yet is refused when it is asked for", async () => {
  const refused = async (changes: object) =>
    (await fleet.http("POST", "/v1/workloads", { body: { name: "no", spec: { ...spec("vm"), ...changes } } })).body;
  expect(await refused({ resources: { cpuMillis: 100, memoryBytes: 64 * 2 ** 20 } })).toMatchObject({
    code: "LIMIT_INFEASIBLE",
  });
  expect(await refused({ container: { readOnlyRoot: true } })).toMatchObject({ code: "FIELD_NOT_APPLICABLE" });
  expect(await refused({ network: "host" })).toMatchObject({ code: "FIELD_NOT_APPLICABLE" });
});

test("a container and a machine share a directory and sockets, which are one object for both", async () => {
  const share = (name: string, kind: string) => fleet.http("POST", "/v1/shares", { body: { name, spec: { kind } } });
  for (const kind of ["directory", "socket-directory", "shared-memory"]) await share(kind, kind);
  const data = (path: string, readOnly: boolean) => ({
    shares: [
      { share: "directory", path, readOnly },
      { share: "socket-directory", path: "/sockets", readOnly },
    ],
  });
  await fleet.run("giver", { ...spec("container"), ...data("/out", false) });
  await fleet.run("taker", { ...spec("vm"), ...data("/deep/in", true) });
  await say("giver-0", "echo through > /out/word");
  expect(await say("taker-0", "cat /deep/in/word; touch /deep/in/no 2>&1")).toMatch(
    /^through\n.*Read-only file system/,
  );
  expect((await instanceOf("taker-0")).contractHeld).toBe(true);
  const { body } = await fleet.http("GET", "/v1/instances/taker-0/view?seccompFrom=plan");
  const { channels = [] } = (body as InstanceView).machine ?? {};
  expect(channels.map(({ name }) => name)).toContain("vhost-user-fs share0");
  expect(channels).toContainEqual({
    kind: "socket",
    name: "share socket-directory",
    at: "/sockets",
    queues: null,
    uses: 0,
  });
  expect((await fleet.cli("shares", "graph")).stdout).toMatch(
    /^directory +directory +taker-0 +\/deep\/in +ro +declared/m,
  );
  const used = await fleet.http("DELETE", "/v1/shares/directory");
  expect(used).toMatchObject({ body: { code: "SHARE_IN_USE", detail: expect.stringContaining("taker-0") } });
  // What it sees are devices of its machine, which it is given at its start, and which can be taken away.
  const attached = await fleet.http("PUT", "/v1/instances/taker-0/shares/directory", { body: { path: "/again" } });
  expect(attached).toMatchObject({ status: 422, body: { code: "FIELD_NOT_APPLICABLE" } });
  for (const name of ["directory", "socket-directory"]) {
    const detached = await fleet.http("DELETE", `/v1/instances/taker-0/shares/${name}`);
    expect(detached).toMatchObject({ status: 200, body: { share: name, state: "detached", busy: false } });
  }
  expect(await say("taker-0", "ls -A /deep/in /sockets")).toBe("/deep/in:\n\n/sockets:");
  const memory = { ...spec("vm"), shares: [{ share: "shared-memory", path: "/x" }] };
  expect(await fleet.http("POST", "/v1/workloads", { body: { name: "no", spec: memory } })).toMatchObject({
    status: 422,
    body: { code: "FIELD_NOT_APPLICABLE", errors: [{ pointer: "/spec/shares/0/share" }] },
  });
  for (const name of ["giver", "taker"]) await fleet.remove(name);
  expect((await fleet.http("DELETE", "/v1/shares/directory")).status).toBe(200);
});
