import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Assignment, Digest, HostId, InstanceId, InstanceReport } from "@bulkhead/contracts";
import { hostPaths, leaksBetween, MountAllowList, removeCgroupParents, snapshotHost } from "@bulkhead/host";
import { BlobStore, importArchive } from "@bulkhead/images";
import { ContainerRuntime } from "@bulkhead/namespaces";
import { busyboxImage } from "@bulkhead/testkit/images";
import { assignment as anAssignment } from "@bulkhead/testkit/runtime";
import { startNats, type TestNats } from "@bulkhead/testkit/servers";
import { FakeScheduler } from "./testing/fake-scheduler.ts";

const patience = { timeout: 20_000, interval: 20 };

let root: string;
let nats: TestNats;
let scheduler: FakeScheduler;
let image: Digest;
/** not on the host until an instance wants it */
let otherImage: Digest;
let hostId: HostId;
let agents: ChildProcess[];

beforeAll(async () => {
  root = await mkdtemp("/tmp/bulkhead-node-");
  agents = [];
  nats = await startNats({ keys: true });
  const blobs = await BlobStore.open({ root: join(root, "blobs") });
  const importOne = async (archive: string): Promise<Digest> => {
    const [imported] = await importArchive(archive, blobs);
    if (imported === undefined) throw new Error(`${archive} holds no image`);
    return imported.manifestDigest;
  };
  image = await importOne(await busyboxImage());
  otherImage = await importOne(await busyboxImage({ files: { "/other": { content: "other\n" } } }));
  scheduler = await FakeScheduler.start(nats, blobs);
  await writeFile(join(root, "token"), scheduler.joinToken);
});
afterAll(async () => {
  for (const agent of agents) if (agent.exitCode === null && agent.signalCode === null) await end(agent, "SIGKILL");
  await removeInstances();
  await scheduler[Symbol.asyncDispose]();
  await nats[Symbol.asyncDispose]();
  await rm(root, { recursive: true, force: true });
});

/** Also after a failed test nothing of it may stay on the machine. */
const removeInstances = async (): Promise<void> => {
  const runtime = await ContainerRuntime.open({
    paths: hostPaths(join(root, "state"), join(root, "run"), hostId),
    images: { ensure: () => Promise.reject(new Error("nothing is started here")) },
    mountAllowList: new MountAllowList([]),
    log: { warn: () => undefined },
  });
  for (const run of await runtime.list()) {
    await run.stop(0);
    await run.release();
  }
  await removeCgroupParents(runtime.parents);
};

const startAgent = async (environment: Record<string, string> = {}): Promise<ChildProcess> => {
  const agent = spawn(process.execPath, [join(import.meta.dirname, "main.ts")], {
    env: {
      PATH: process.env["PATH"],
      BULKHEAD_STATE_DIR: join(root, "state"),
      BULKHEAD_RUN_DIR: join(root, "run"),
      BULKHEAD_API_URL: scheduler.url,
      BULKHEAD_JOIN_TOKEN_FILE: join(root, "token"),
      BULKHEAD_HOST_NAME: "test-host",
      BULKHEAD_HOST_LABELS: "disk=fast",
      ...environment,
    },
    stdio: ["ignore", "pipe", "inherit"],
  });
  agents.push(agent);
  let output = "";
  agent.stdout.on("data", (data: Buffer) => (output += data.toString()));
  await expect
    .poll(() => (agent.exitCode === null ? output : `ended: ${output}`), patience)
    .toMatch(/service started|^ended/);
  if (agent.exitCode !== null) throw new Error(`the agent ended with ${agent.exitCode}: ${output}`);
  return agent;
};

const end = async (agent: ChildProcess, signal: NodeJS.Signals): Promise<number | null> => {
  const exited = once(agent, "exit");
  agent.kill(signal);
  await exited;
  return agent.exitCode;
};

const unusedPort = async (): Promise<number> => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  await once(server.close(), "close");
  return port;
};

const wish = (n: number, command: readonly string[], changes: Partial<Assignment> = {}): Assignment => ({
  ...anAssignment({ n, imageDigest: image, spec: { image: "busybox", command: [...command] } }),
  ...changes,
});
const reported = (instanceId: InstanceId, state: InstanceReport["state"]) =>
  expect
    .poll(
      () => scheduler.reports.find((report) => report.instanceId === instanceId && report.state === state),
      patience,
    )
    .toBeDefined();
const initPid = (instanceId: InstanceId): number => {
  const status = join(
    hostPaths(join(root, "state"), join(root, "run"), hostId).runInstances,
    instanceId,
    "1.1.0/status",
  );
  return (JSON.parse(readFileSync(status, "utf8")) as { init: { pid: number } }).init.pid;
};

test("a machine becomes a host, runs what it is told, outlives its agents, and stops what has a tombstone", async () => {
  const living = wish(1, ["sleep", "100000"]);
  const brief = wish(2, ["sh", "-c", "sleep 0.5; exit 9"]);
  let agent = await startAgent();
  hostId = scheduler.joins[0]?.hostId as HostId;
  const paths = hostPaths(join(root, "state"), join(root, "run"), hostId);
  const scope = {
    directories: [paths.runInstances, paths.instances],
    cgroupPrefixes: [`bulkhead-${paths.hash}`],
    networksOf: paths.hash,
    commands: [],
  };
  const before = await snapshotHost(scope);
  expect(scheduler.joins[0]).toMatchObject({ name: "test-host", isolation: "container", labels: { disk: "fast" } });
  expect(scheduler.joins[0]?.facts.enforceable).toContain("resources.memoryBytes");

  scheduler.want(hostId, [living, brief]);
  await reported(living.instanceId, "running");
  const pid = initPid(living.instanceId);
  await end(agent, "SIGKILL");
  await expect.poll(() => existsSync(join(paths.runInstances, brief.instanceId, "1.1.0/exit")), patience).toBe(true);
  expect(existsSync(`/proc/${pid}`)).toBe(true);

  agent = await startAgent();
  await expect
    .poll(
      () => scheduler.reports.find(({ exit, instanceId }) => instanceId === brief.instanceId && exit !== null)?.exit,
      patience,
    )
    .toMatchObject({ exitCode: 9 });
  expect(initPid(living.instanceId)).toBe(pid);
  expect(await end(agent, "SIGTERM")).toBe(0);
  expect(existsSync(`/proc/${pid}`)).toBe(true);

  agent = await startAgent();
  const tombstone = ({ instanceId, epoch }: Assignment) => ({ instanceId, epoch, graceMs: 0 });
  scheduler.want(hostId, [], [tombstone(living), tombstone(brief)]);
  await reported(living.instanceId, "gone");
  await reported(brief.instanceId, "gone");
  expect(existsSync(`/proc/${pid}`)).toBe(false);
  await expect.poll(async () => leaksBetween(before, await snapshotHost(scope)), patience).toEqual([]);
  await end(agent, "SIGTERM");
});

test("a second agent on the same host is refused by name of the first", async () => {
  const agent = await startAgent();
  await expect(startAgent()).rejects.toThrow(`pid ${agent.pid}`);
  await end(agent, "SIGTERM");
});

test("an agent starts without bus and scheduler, obeys the document it has, and heals when they are back", async () => {
  const asked = wish(3, ["sleep", "100000"]);
  const living = { ...asked, spec: { ...asked.spec, restart: { policy: "always", backoffMs: 100 } as const } };
  let agent = await startAgent();
  scheduler.want(hostId, [living], scheduler.tombstones);
  await reported(living.instanceId, "running");
  const document = join(hostPaths(join(root, "state"), join(root, "run"), hostId).state, "desired.container.json");
  await expect.poll(() => readFile(document, "utf8"), patience).toContain(living.instanceId);
  const pid = initPid(living.instanceId);
  await end(agent, "SIGKILL");
  process.kill(pid, "SIGKILL");
  await nats.kill();
  agent = await startAgent({ BULKHEAD_API_URL: `http://127.0.0.1:${await unusedPort()}` });
  const again = join(
    hostPaths(join(root, "state"), join(root, "run"), hostId).runInstances,
    living.instanceId,
    "1.1.1/status",
  );
  await expect.poll(() => existsSync(again), patience).toBe(true);

  await nats.restart();
  await expect
    .poll(
      () => scheduler.reports.some(({ attempt, instanceId }) => instanceId === living.instanceId && attempt === 1),
      {
        timeout: 40_000,
        interval: 50,
      },
    )
    .toBe(true);
  scheduler.want(
    hostId,
    [],
    [...scheduler.tombstones, { instanceId: living.instanceId, epoch: living.epoch, graceMs: 0 }],
  );
  await reported(living.instanceId, "gone");
  await end(agent, "SIGTERM");
});

test("a scheduler that forgot our token gets us to join again before the image is given up", async () => {
  const agent = await startAgent();
  const joins = scheduler.joins.length;
  scheduler.httpTokens.clear();
  const living = wish(4, ["sleep", "100000"], { imageDigest: otherImage });
  scheduler.want(hostId, [living], scheduler.tombstones);
  await reported(living.instanceId, "running");
  expect(scheduler.joins.length).toBe(joins + 1);
  scheduler.want(
    hostId,
    [],
    [...scheduler.tombstones, { instanceId: living.instanceId, epoch: living.epoch, graceMs: 0 }],
  );
  await reported(living.instanceId, "gone");
  await end(agent, "SIGTERM");
});

test("joining another control plane keeps what runs, sets its document aside and names it as unknown", async () => {
  const living = wish(5, ["sleep", "100000"]);
  let agent = await startAgent();
  scheduler.want(hostId, [living], scheduler.tombstones);
  await reported(living.instanceId, "running");
  const pid = initPid(living.instanceId);
  await end(agent, "SIGTERM");

  const [first, { tombstones }] = [scheduler.clusterId, scheduler];
  scheduler.clusterId = first.replace(/.$/, (digit) => (digit === "0" ? "1" : "0")) as typeof first;
  scheduler.want(hostId, []);
  agent = await startAgent();
  await expect
    .poll(() => scheduler.heartbeats.at(-1), patience)
    .toMatchObject({ position: { clusterId: scheduler.clusterId }, unknown: [{ instanceId: living.instanceId }] });
  expect(existsSync(`/proc/${pid}`)).toBe(true);
  const aside = join(
    hostPaths(join(root, "state"), join(root, "run"), hostId).state,
    `desired.container.json.${first}`,
  );
  expect(await readFile(aside, "utf8")).toContain(living.instanceId);
  await end(agent, "SIGTERM");

  scheduler.clusterId = first;
  scheduler.want(hostId, [], [...tombstones, { instanceId: living.instanceId, epoch: living.epoch, graceMs: 0 }]);
  agent = await startAgent();
  await reported(living.instanceId, "gone");
  expect(existsSync(`/proc/${pid}`)).toBe(false);
  expect(await end(agent, "SIGTERM")).toBe(0);
});
