/**
 * What two containers exchange through shares (Unix socket and FIFOs in a directory, memory in shared memory) against two
 * processes of the host that do the same: round trips and throughput, pinned, all in turn. The ratio of a row is the
 * containers' speed by the host's; what is promised is the lower bound of its 95 % interval.
 *
 * The host's two are what processes of a host that runs containers are: members of a service's cgroup, two levels deep
 * (host-service.ts), because the kernel goes up the levels of the cpu controller and of pressure (PSI) whenever one wakes
 * the other. The last columns compare with two in no group of their own, as a shell starts them; that is shown and not
 * judged.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as delay } from "node:timers/promises";
import { uuidV7, withShareDefaults, type AssignedShare, type MountedShareKind } from "@bulkhead/contracts";
import { usableCpus } from "@bulkhead/host";
import { Rig } from "@bulkhead/namespaces/testing";
import { busyboxImage } from "@bulkhead/testkit/images";
import { HostService } from "./host-service.ts";
import { interleaveAll, median, printFigures, printTable } from "./report.ts";

const pairs = 150;
/** Runs of which each side of a pair counts its best: what the machine does meanwhile only ever adds. */
const tries = 5;
const goal = 0.97;
const pieceBytes = 64 * 1024;
const startDeadlineMs = 10_000;
const program = fileURLToPath(new URL("../../native/namespaces/build/ipc-bench", import.meta.url));

/** Counts that take some 8 ms each. */
const rows = [
  { kind: "socket-trip", title: "Unix socket, round trip", count: 200 },
  { kind: "pipe-trip", title: "pipe, round trip", count: 200 },
  { kind: "memory-trip", title: "shared memory, round trip", count: 50_000 },
  { kind: "socket-stream", title: "Unix socket, throughput", count: 600 },
  { kind: "pipe-stream", title: "pipe, throughput", count: 250 },
  { kind: "memory-stream", title: "shared memory, throughput", count: 6_000 },
] as const;

const [serverCpu, driverCpu] = usableCpus();
if (serverCpu === undefined || driverCpu === undefined) throw new Error("two processes that wait need two CPUs");

const listens = async (path: string): Promise<void> => {
  for (const deadline = Date.now() + startDeadlineMs; !existsSync(path); await delay(10)) {
    if (Date.now() > deadline) throw new Error(`nobody listens at ${path}`);
  }
};

/** Two sides that talk to each other; it is asked for one measurement at a time. */
class World {
  readonly #control: Socket;

  private constructor(control: Socket) {
    this.#control = control;
  }

  /** When the driving side listens, both are ready. `link`: a socket's path is short (unix(7)), a share's is not. */
  static async open(files: string, link: string): Promise<World> {
    await listens(join(files, "control"));
    await symlink(files, link);
    const control = connect(join(link, "control"));
    await new Promise((resolve, reject) => control.once("connect", resolve).once("error", reject));
    return new World(control);
  }

  /** Milliseconds of `count` trips or pieces. */
  async measure(kind: string, count: number): Promise<number> {
    const answer = new Promise<string>((resolve, reject) => {
      this.#control.once("data", (chunk) => resolve(chunk.toString("utf8")));
      this.#control.once("close", () => reject(new Error("the driving side has ended")));
    });
    this.#control.write(`${kind} ${count}`);
    const took = Number(await answer) / 1e6;
    this.#control.removeAllListeners("close");
    if (!(took > 0)) throw new Error(`${kind} took ${took} ms`);
    return took;
  }

  close(): void {
    this.#control.destroy();
  }
}

const shareOf = (kind: MountedShareKind, path: string): AssignedShare => ({
  shareId: uuidV7(Date.now(), randomBytes(10)),
  name: kind,
  ...withShareDefaults({ kind }),
  path,
  readOnly: false,
});

/**
 * The median ratio and the bounds of its 95 % interval, by rank (binomial, normal approximation): a pair in which the
 * machine did something else moves neither.
 */
const interval = (ratios: readonly number[]): { low: number; mid: number; high: number } => {
  const sorted = ratios.toSorted((a, b) => a - b);
  const half = (1.96 * Math.sqrt(sorted.length)) / 2;
  const at = (rank: number): number => sorted[Math.min(sorted.length - 1, Math.max(0, rank))] ?? Number.NaN;
  const middle = sorted.length / 2;
  return { low: at(Math.floor(middle - half)), mid: median(sorted), high: at(Math.ceil(middle + half)) };
};

const bestOf = (times: readonly number[]): number[] =>
  Array.from({ length: pairs }, (_, pair) => Math.min(...times.slice(pair * tries, (pair + 1) * tries)));

await using rig = await Rig.open({ allowed: "$ROOT/bench" });
await mkdir(join(rig.root, "bench"));
await copyFile(program, join(rig.root, "bench", "ipc-bench"));
const image = await rig.image(await busyboxImage());
const [files, memory] = [shareOf("directory", "/files"), shareOf("shared-memory", "/memory")];
const side = (role: string, cpu: number) =>
  rig.start(
    rig.assignment(image, {
      command: ["/bench/ipc-bench", role, "/files", "/memory", String(cpu)],
      mounts: [{ hostPath: join(rig.root, "bench"), path: "/bench" }],
      assigned: [files, memory],
    }),
  );

const names = ["containers", "services", "bare"] as const;
type Name = (typeof names)[number];
await using service = await HostService.make(rig.runtime.parents, `bulkhead-ipc-${process.pid}`);
const hosts: ChildProcess[] = [];
const memories: string[] = [];
const worlds: World[] = [];
const kept = (world: World): World => {
  worlds.push(world);
  return world;
};

/** Two processes of the host. */
const openOnHost = async (name: Name, place: (child: ChildProcess) => Promise<void>): Promise<World> => {
  const hostFiles = join(rig.root, name);
  await mkdir(hostFiles);
  const hostMemory = await mkdtemp("/dev/shm/bulkhead-ipc-");
  memories.push(hostMemory);
  const startSide = async (role: string, cpu: number, socket: string): Promise<void> => {
    const args = [role, hostFiles, hostMemory, String(cpu)];
    const child = spawn(program, args, { stdio: ["ignore", "ignore", "inherit"] });
    hosts.push(child);
    await place(child);
    await listens(join(hostFiles, socket));
  };
  await startSide("serve", serverCpu, "data");
  await startSide("drive", driverCpu, "control");
  return World.open(hostFiles, join(rig.root, `to-${name}`));
};

try {
  await side("serve", serverCpu);
  const shared = join(rig.paths.shares, files.shareId, "data");
  await listens(join(shared, "data"));
  await side("drive", driverCpu);
  const opened = {
    containers: kept(await World.open(shared, join(rig.root, "to-containers"))),
    services: kept(await openOnHost("services", (child) => service.take(child))),
    bare: kept(await openOnHost("bare", async () => {})),
  };

  const results = [];
  for (const { kind, title, count } of rows) {
    for (const name of names) await opened[name].measure(kind, count);
    const all = await interleaveAll(pairs * tries, {
      containers: () => opened.containers.measure(kind, count),
      services: () => opened.services.measure(kind, count),
      bare: () => opened.bare.measure(kind, count),
    });
    const best = { containers: bestOf(all.containers), services: bestOf(all.services), bare: bestOf(all.bare) };
    // Times of equal work: the containers' speed by the host's is the host's time by theirs.
    const speeds = (host: "services" | "bare") =>
      interval(best.containers.map((took, pair) => (best[host][pair] ?? Number.NaN) / took));
    const amount = (took: number): string =>
      kind.endsWith("trip")
        ? `${((took * 1000) / count).toFixed(2)} us`
        : `${((count * pieceBytes) / took / 1e6).toFixed(2)} GB/s`;
    const shown = names.map((name) => amount(median(best[name])));
    results.push({ title, ...speeds("services"), bare: speeds("bare"), shown });
  }
  printTable([
    ["between two", "rounds", ...names, "low", "ratio", "high", "low, bare", "ratio, bare"],
    ...results.map(({ title, shown, low, mid, high, bare }) => [
      title,
      pairs,
      ...shown,
      low,
      mid,
      high,
      bare.low,
      bare.mid,
    ]),
  ]);
  const lowest = results.reduce((worst, row) => (row.low < worst.low ? row : worst));
  printFigures({
    bench: "ipc",
    pairs,
    lowestRow: lowest.title,
    rows: Object.fromEntries(results.map(({ title, low }) => [title, Math.round(low * 1000) / 1000])),
    bareRows: Object.fromEntries(results.map(({ title, bare }) => [title, Math.round(bare.low * 1000) / 1000])),
    ratio: lowest.low,
    better: "higher",
    goal: `lowest row's lower bound of the 95 % interval >= ${goal}`,
    met: lowest.low >= goal,
  });
} finally {
  for (const world of worlds) world.close();
  for (const child of hosts) {
    const ended = once(child, "exit");
    if (child.kill("SIGKILL")) await ended;
  }
  for (const path of memories) await rm(path, { recursive: true, force: true });
  await rig.clear();
  for (const { shareId } of [files, memory]) await rig.runtime.removeShare(shareId);
}
