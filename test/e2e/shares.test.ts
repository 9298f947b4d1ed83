import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { busyboxImage } from "@bulkhead/testkit/images";
import type { InstanceView, Share, ShareGraph } from "@bulkhead/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startFleet, type Fleet } from "../fleet.ts";

let fleet: Fleet;

beforeAll(async () => {
  fleet = await startFleet();
  await fleet.importImage("busybox", await busyboxImage());
});
afterAll(() => fleet[Symbol.asyncDispose]());

const spec = (shares: { share: string; path?: string; readOnly?: boolean }[] = []) => ({
  image: "busybox",
  command: ["sleep", "1000"],
  resources: { cpuMillis: 50, memoryBytes: 32 * 2 ** 20 },
  shares,
});
const create = (name: string, kind: string, more: object = {}) =>
  fleet.http("POST", "/v1/shares", { body: { name, spec: { kind, ...more } } });
const mountsOf = async (name: string) =>
  ((await fleet.http("GET", `/v1/instances/${name}/view?seccompFrom=plan`)).body as InstanceView).mounts;
const shareOf = async (name: string): Promise<Share> => (await fleet.http("GET", `/v1/shares/${name}`)).body as Share;

test("two workloads share a directory: one writes, the other reads, and the graph shows both", async () => {
  expect((await create("data", "directory")).status).toBe(201);
  expect(await shareOf("data")).toMatchObject({ hostId: null, users: [], spec: { mode: "0755", lifetime: "kept" } });
  await fleet.run("writer", spec([{ share: "data", path: "/data", readOnly: false }]));
  await fleet.run("reader", spec([{ share: "data", path: "/in" }]));
  await fleet.exec("writer-0", ["sh", "-c", "echo shared > /data/word"]);
  expect(await fleet.exec("reader-0", ["cat", "/in/word"])).toMatchObject({ stdout: "shared\n", exitCode: 0 });
  expect((await fleet.exec("reader-0", ["touch", "/in/no"])).stderr).toContain("Read-only file system");
  const [host] = await fleet.hosts();
  expect(await shareOf("data")).toMatchObject({ hostId: host?.id, hostName: host?.name });
  const graph = (await fleet.http("GET", "/v1/shares/graph")).body as ShareGraph;
  expect(graph.uses).toMatchObject([
    { share: "data", instance: "reader-0", path: "/in", readOnly: true, state: "declared" },
    { share: "data", instance: "writer-0", path: "/data", readOnly: false, state: "declared" },
  ]);
  expect((await mountsOf("reader-0")).filter(({ share }) => share === "data")).toMatchObject([
    { target: "/in", mode: "ro" },
  ]);
  expect((await fleet.cli("shares", "graph")).stdout).toMatch(/^data +directory +reader-0 +\/in +ro +declared/m);
});

test("a share in use is not deleted, and it is said who uses it; its data goes when it is", async () => {
  const refused = await fleet.http("DELETE", "/v1/shares/data");
  expect(refused).toMatchObject({
    status: 409,
    body: { code: "SHARE_IN_USE", detail: expect.stringContaining("writer-0") },
  });
  const { id, hostId } = await shareOf("data");
  const directory = join(fleet.stateDirectory, "hosts", hostId ?? "", "shares");
  expect(readdirSync(directory)).toContain(id);
  await fleet.remove("writer");
  await fleet.remove("reader");
  expect(existsSync(join(directory, id, "data", "word"))).toBe(true);
  expect((await fleet.http("DELETE", "/v1/shares/data")).status).toBe(200);
  expect(readdirSync(directory)).toEqual([]);
  expect((await fleet.http("GET", "/v1/shares/data")).status).toBe(404);
});

test("shares are attached to and detached from a running instance, also through a restart", async () => {
  await create("ring", "shared-memory", { sizeBytes: 2 ** 20 });
  await fleet.run("live", spec());
  const attached = await fleet.cli("shares", "attach", "live", "ring:/dev/shm:rw");
  expect(attached).toMatchObject({ code: 0, stdout: "live-0 ring attached\n" });
  expect((await mountsOf("live-0")).filter(({ share }) => share === "ring")).toMatchObject([
    { target: "/dev/shm", mode: "rw" },
  ]);
  expect(await shareOf("ring")).toMatchObject({ users: [{ instance: "live-0", state: "attached" }] });
  await fleet.act("live-0", "restart", "running");
  await fleet.until(
    async () => (await mountsOf("live-0").catch(() => []))?.some(({ share }) => share === "ring") ?? false,
    "the restarted instance sees the share",
  );
  const detached = await fleet.http("DELETE", "/v1/instances/live-0/shares/ring");
  expect(detached).toMatchObject({ status: 200, body: { state: "detached", share: "ring", instance: "live-0" } });
  expect((await mountsOf("live-0")).some(({ share }) => share === "ring")).toBe(false);
  expect(await fleet.http("DELETE", "/v1/instances/live-0/shares/ring")).toMatchObject({ status: 404 });
  expect((await fleet.http("DELETE", "/v1/shares/ring")).status).toBe(200);
});

test("what was ordered while the agent was away is done when it is back", async () => {
  await create("late", "directory");
  await fleet.run("patient", spec([{ share: "late", path: "/late" }]));
  await fleet.kill("container-node", {
    whileDown: async () => {
      const ordered = await fleet.http("DELETE", "/v1/instances/patient-0/shares/late");
      expect([200, 202]).toContain(ordered.status);
    },
  });
  const pid = await fleet.pidOf("patient-0");
  await fleet.until(async () => (await shareOf("late")).users.length === 0, "the detached share has no user");
  expect(readFileSync(`/proc/${pid}/mountinfo`, "utf8")).not.toContain(" /late ");
  expect(fleet.isAlive(pid)).toBe(true);
});

test("instances that share namespaces see each other's loopback, host name and processes; a third does not", async () => {
  const made = await fleet.cli(
    "shares",
    "create",
    "pod",
    "--namespace",
    "network",
    "--namespace",
    "pid",
    "--namespace",
    "uts",
  );
  expect(made).toMatchObject({ code: 0, stdout: "pod\n" });
  expect(await shareOf("pod")).toMatchObject({
    spec: { kind: "namespace", namespaces: ["network", "pid", "uts"], lifetime: "transient" },
  });
  const serve = "mkdir /www; echo of-the-pod > /www/index.html; exec httpd -f -p 127.0.0.1:80 -h /www";
  await fleet.run("front", { ...spec([{ share: "pod" }]), command: ["sh", "-c", serve] });
  const ran = await fleet.cli(
    "run",
    "busybox",
    "--name",
    "side",
    "--share",
    "pod",
    "--memory",
    "32Mi",
    "--",
    "sleep",
    "1000",
  );
  expect(ran.code).toBe(0);
  await fleet.run("stranger", spec());
  const ask = ["wget", "-q", "-O", "-", "http://127.0.0.1/"];
  await fleet.until(async () => (await fleet.exec("side-0", ask)).exitCode === 0, "the member's server answers");
  expect(await fleet.exec("side-0", ask)).toMatchObject({ stdout: "of-the-pod\n" });
  expect((await fleet.exec("stranger-0", ask)).exitCode).not.toBe(0);
  expect((await fleet.exec("side-0", ["hostname"])).stdout).toBe("pod\n");
  expect((await fleet.exec("side-0", ["ps", "-o", "args"])).stdout).toContain("httpd -f");
  expect((await fleet.exec("stranger-0", ["ps", "-o", "args"])).stdout).not.toContain("httpd -f");
  expect((await fleet.cli("shares", "graph")).stdout).toMatch(
    /^pod +namespace \(network, pid, uts\) +front-0 +member +declared/m,
  );
  expect((await fleet.cli("view", "side-0")).stdout).toMatch(
    /net +\d+ shared with front-0, \d host processes by share pod/,
  );
  const view = (await fleet.http("GET", "/v1/instances/front-0/view?seccompFrom=plan")).body as InstanceView;
  expect(view.namespaces.filter(({ share }) => share === "pod").map(({ type }) => type)).toEqual([
    "pid",
    "net",
    "uts",
    "user",
  ]);
});

/** Restarts an instance; resolves when another process of it runs. */
const restart = async (name: string): Promise<void> => {
  const before = await fleet.pidOf(name);
  await fleet.act(name, "restart", "running");
  await fleet.until(async () => {
    const pid = await fleet.pidOf(name).catch(() => before);
    return pid !== before && existsSync(`/proc/${pid}/ns`);
  }, `${name} runs anew`);
};

test("namespaces stay with their members: no attaching, no detaching; a member comes back into them, also under a new agent", async () => {
  for (const [method, body] of [
    ["PUT", { path: "/x" }],
    ["DELETE", undefined],
  ] as const) {
    expect(
      await fleet.http(method, "/v1/instances/side-0/shares/pod", body === undefined ? {} : { body }),
    ).toMatchObject({
      status: 409,
      body: { code: "NAMESPACE_FIXED" },
    });
  }
  const namespacesOf = async (name: string) => readlinkSync(`/proc/${await fleet.pidOf(name)}/ns/net`);
  const before = await namespacesOf("side-0");
  await restart("front-0");
  await fleet.kill("container-node");
  await restart("side-0");
  expect([await namespacesOf("front-0"), await namespacesOf("side-0")]).toEqual([before, before]);
  expect(await fleet.http("DELETE", "/v1/shares/pod")).toMatchObject({ status: 409, body: { code: "SHARE_IN_USE" } });
  for (const name of ["front", "side", "stranger"]) await fleet.remove(name);
  expect((await fleet.http("DELETE", "/v1/shares/pod")).status).toBe(200);
});

test("what namespaces cannot be combined with is refused", async () => {
  expect(await create("vague", "namespace")).toMatchObject({ body: { errors: [{ pointer: "/spec/namespaces" }] } });
  expect(await create("owned", "namespace", { namespaces: ["uts"], mode: "0700" })).toMatchObject({ status: 400 });
  expect(await create("misled", "directory", { namespaces: ["uts"] })).toMatchObject({ status: 400 });
  for (const name of ["one", "two"]) await create(name, "namespace", { namespaces: ["network", "ipc"] });
  const post = (shares: object[], more: object = {}) =>
    fleet.http("POST", "/v1/workloads", { body: { name: "no", spec: { ...spec(), ...more, shares } } });
  const refused = (pointer: string, code = "REQUEST_INVALID") => ({ body: { code, errors: [{ pointer }] } });
  expect(await post([{ share: "one" }, { share: "two" }])).toMatchObject(refused("/spec/shares/1/share"));
  expect(await post([{ share: "one", path: "/x" }])).toMatchObject(refused("/spec/shares/0/path"));
  expect(await post([{ share: "one" }], { network: "host" })).toMatchObject(refused("/spec/network"));
  const memory = [{ path: "/dev/shm", sizeBytes: 4096 }];
  expect(await post([{ share: "one" }], { tmpfs: memory })).toMatchObject(refused("/spec/tmpfs/0/path"));
  const vm = { isolation: "vm", resources: { cpuMillis: 100, memoryBytes: 2 ** 28 } };
  expect(await post([{ share: "one" }], vm)).toMatchObject(refused("/spec/shares/0/share", "FIELD_NOT_APPLICABLE"));
});

test("bad requests are refused with what is wrong, and nothing is written", async () => {
  expect(await create("bad", "teapot")).toMatchObject({ status: 400, body: { code: "REQUEST_INVALID" } });
  expect(await create("graph", "directory")).toMatchObject({ status: 400 });
  expect(await create("sock", "socket-directory", { sizeBytes: 2 ** 20 })).toMatchObject({ status: 400 });
  expect(await create("tiny", "shared-memory", { sizeBytes: 1 })).toMatchObject({ status: 400 });
  expect((await create("twice", "directory")).status).toBe(201);
  expect(await create("twice", "directory")).toMatchObject({ status: 409, body: { code: "NAME_TAKEN" } });
  const post = (shares: object[]) =>
    fleet.http("POST", "/v1/workloads", { body: { name: "no", spec: { ...spec(), shares } } });
  expect(await post([{ share: "missing", path: "/x" }])).toMatchObject({
    status: 404,
    body: { errors: [{ pointer: "/spec/shares/0/share" }] },
  });
  expect(await post([{ share: "twice", path: "/proc/x" }])).toMatchObject({
    status: 400,
    body: { errors: [{ pointer: "/spec/shares/0/path" }] },
  });
  expect(await post([{ share: "twice", path: "/dev/shm" }])).toMatchObject({ status: 400 });
  expect(
    await post([
      { share: "twice", path: "/a" },
      { share: "twice", path: "/b" },
    ]),
  ).toMatchObject({ status: 400 });
  expect(await fleet.http("PUT", "/v1/instances/live-0/shares/twice", { body: { path: "relative" } })).toMatchObject({
    status: 400,
  });
  expect(await fleet.http("PUT", "/v1/instances/live-0/shares/twice", { body: { path: "/bin/sh" } })).toMatchObject({
    status: 202,
    body: { state: "attaching", detail: expect.stringContaining("no directory") },
  });
  expect((await fleet.http("DELETE", "/v1/instances/live-0/shares/twice")).status).toBeLessThan(300);
  expect(await fleet.http("GET", "/v1/workloads/no")).toMatchObject({ status: 404 });
});
