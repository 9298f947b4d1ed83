/**
 * What two containers exchange through shares (Unix socket and FIFOs in a directory, memory in shared memory) against two
 * processes of the host that do the same: round trips and throughput, pinned, in interleaved pairs. The ratio of a row is
 * the containers' speed by the host's; what is promised is the lower bound of its 95 % interval.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
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
import { interleave, median, printFigures, printTable } from "./report.ts";

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

const hostFiles = join(rig.root, "files");
await mkdir(hostFiles);
const hostMemory = await mkdtemp("/dev/shm/bulkhead-ipc-");
const hosts: ChildProcess[] = [];
const worlds: World[] = [];
const startOnHost = (role: string, cpu: number): void => {
  hosts.push(spawn(program, [role, hostFiles, hostMemory, String(cpu)], { stdio: ["ignore", "ignore", "inherit"] }));
};
try {
  await side("serve", serverCpu);
  const shared = join(rig.paths.shares, files.shareId, "data");
  await listens(join(shared, "data"));
  await side("drive", driverCpu);
  startOnHost("serve", serverCpu);
  await listens(join(hostFiles, "data"));
  startOnHost("drive", driverCpu);
  worlds.push(await World.open(shared, join(rig.root, "1")), await World.open(hostFiles, join(rig.root, "2")));
  const [ours, peer] = worlds as [World, World];

  const results = [];
  for (const { kind, title, count } of rows) {
    for (const world of worlds) await world.measure(kind, count);
    const all = await interleave(
      pairs * tries,
      () => ours.measure(kind, count),
      () => peer.measure(kind, count),
    );
    const times = { a: bestOf(all.a), b: bestOf(all.b) };
    // Times of equal work: the containers' speed by the host's is the host's time by theirs.
    const speeds = interval(times.a.map((took, pair) => (times.b[pair] ?? Number.NaN) / took));
    const amount = (took: number): string =>
      kind.endsWith("trip")
        ? `${((took * 1000) / count).toFixed(2)} us`
        : `${((count * pieceBytes) / took / 1e6).toFixed(2)} GB/s`;
    results.push({ title, ...speeds, ours: amount(median(times.a)), peer: amount(median(times.b)) });
  }
  printTable([
    ["between two", "pairs", "containers", "host", "low", "ratio", "high"],
    ...results.map((row) => [row.title, pairs, row.ours, row.peer, row.low, row.mid, row.high]),
  ]);
  const lowest = results.reduce((worst, row) => (row.low < worst.low ? row : worst));
  printFigures({
    bench: "ipc",
    pairs,
    lowestRow: lowest.title,
    rows: Object.fromEntries(results.map(({ title, low }) => [title, Math.round(low * 1000) / 1000])),
    ratio: lowest.low,
    better: "higher",
    goal: `lowest row's lower bound of the 95 % interval >= ${goal}`,
    met: lowest.low >= goal,
  });
} finally {
  for (const world of worlds) world.close();
  for (const child of hosts) child.kill("SIGKILL");
  await rm(hostMemory, { recursive: true, force: true });
  await rig.clear();
  for (const { shareId } of [files, memory]) await rig.runtime.removeShare(shareId);
}
