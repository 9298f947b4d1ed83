// A host's disk that has no room for a snapshot, or becomes full while it is taken: a real one, and real copies on it.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, open, readdir, rm, statfs, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { SnapshotId } from "@bulkhead/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ImageDisks } from "../disk/image-disk.ts";
import type { Standstill } from "../engine/engine.ts";
import { answering } from "../testing/fake-guest.ts";
import { machineAssignment } from "../testing/machine-assignment.ts";
import { pathsOf } from "../testing/run-place.ts";
import { MachineSnapshots } from "./machine-snapshots.ts";
import { RunHalt } from "./run-halt.ts";
import { makeCopyFiles } from "./copy-start.ts";
import { SnapshotStore } from "./snapshot-store.ts";
import { snapshotBytes, takeSnapshot, type TakenMachine } from "./take-snapshot.ts";

const mib = 2 ** 20;
const diskBytes = 64 * mib;
const id = "0198c0de-4444-7000-8000-000000000001" as SnapshotId;
let root: string;
let host: string;

beforeAll(async () => {
  root = await mkdtemp("/tmp/bulkhead-disk-full-");
  host = join(root, "host");
  await mkdir(host);
  await writeFile(join(root, "disk"), "");
  await truncate(join(root, "disk"), diskBytes);
  execFileSync("mkfs.ext4", ["-q", join(root, "disk")]);
  execFileSync("mount", ["-o", "loop", join(root, "disk"), host]);
});
afterAll(async () => {
  execFileSync("umount", [host]);
  await rm(root, { recursive: true, force: true });
});

const assignmentOf = (memoryBytes: number) =>
  machineAssignment({ spec: { image: "app", resources: { cpuMillis: 1000, memoryBytes } } });

const freeBytes = async (): Promise<number> => {
  execFileSync("sync", ["--file-system", host]);
  const { bfree, bsize } = await statfs(host);
  return bfree * bsize;
};

const written = async (path: string, bytes: number): Promise<void> => {
  await using file = await open(path, "w");
  for (let at = 0; at < bytes; at += mib) await file.write(Buffer.alloc(mib, 1));
};

/** A machine of that much memory on the small disk, whose monitor writes it as one of ours does; its guest does as told. */
const stage = async ({ memoryBytes, scratchBytes }: { memoryBytes: number; scratchBytes: number }) => {
  const run = join(host, "run");
  await mkdir(run);
  const paths = pathsOf(host, run);
  const image = join(run, "image");
  for (const path of [image, paths.settings]) await writeFile(path, "");
  await written(paths.scratch, scratchBytes);
  const orders: string[] = [];
  const standstill: Standstill = {
    begin: async () => void orders.push("begin"),
    save: async (_ports, { state, memory }) => {
      orders.push("save");
      await written(memory, memoryBytes);
      await writeFile(state, "state");
    },
    end: async () => void orders.push("end"),
  };
  const guest = await answering(0);
  const talk: TakenMachine["talk"] = async (say) => say(await guest.channel());
  const halt = new RunHalt({ standstill, paths, talk, over: () => false });
  const process = { args: ["sleep"], env: [], cwd: "/", user: "0:0", stopSignal: 15 };
  const record = { assignment: assignmentOf(memoryBytes), process, engine: "kvm" };
  const machine: TakenMachine = { engine: "kvm", standstill, paths, record, image, talk, halt };
  const store = new SnapshotStore(join(host, "snapshots"));
  return {
    orders,
    guest,
    halt,
    paths,
    store,
    take: (bytes = snapshotBytes(machine)) => store.make(id, bytes, (draft) => takeSnapshot(machine, id, draft)),
    [Symbol.asyncDispose]: async () => {
      await guest[Symbol.asyncDispose]();
      await rm(run, { recursive: true });
    },
  };
};

test("a snapshot that may not fit is refused before anything stands still", async () => {
  await using at = await stage({ memoryBytes: 64 * mib, scratchBytes: mib });
  await expect(at.take()).rejects.toMatchObject({
    code: "SNAPSHOT_NO_ROOM",
    message: expect.stringMatching(
      /^the host's disk has \d+ MiB for it, and it may take 73 MiB: \d+ MiB are missing$/,
    ) as string,
  });
  expect([at.orders, at.guest.heard, await readdir(join(host, "snapshots"))]).toEqual([[], [], []]);
});

test.each([
  ["while its memory is written", { memoryBytes: 64 * mib, scratchBytes: mib }],
  ["while its disk is copied", { memoryBytes: 8 * mib, scratchBytes: 30 * mib }],
])("a disk that becomes full %s leaves the machine running and nothing else", async (_when, sizes) => {
  await using at = await stage(sizes);
  const before = await freeBytes();
  // As if something else had taken the room that was there.
  await expect(at.take(0)).rejects.toMatchObject({
    code: "SNAPSHOT_NO_ROOM",
    message: expect.stringMatching(/became full/) as string,
  });
  expect(at.orders).toEqual(["begin", "save", "end"]);
  expect(at.guest.heard.map(({ type }) => type)).toEqual([64, 65]);
  expect([at.halt.held, existsSync(join(at.paths.run, "halted"))]).toEqual([false, false]);
  expect([await at.store.read(id), await readdir(join(host, "snapshots"))]).toEqual([null, []]);
  expect(await freeBytes()).toBe(before);
});

test("a copy whose disk has no room is a failed start that says so, with nothing written", async () => {
  await using at = await stage({ memoryBytes: 8 * mib, scratchBytes: 12 * mib });
  const { taken } = await at.take();
  // This file system shares no blocks.
  expect(taken.copyBytes).toBeGreaterThanOrEqual(12 * mib);
  const copy = join(host, "copy");
  await mkdir(copy);
  const paths = pathsOf(copy, join(copy, "run"));
  const before = await freeBytes();
  const { bavail, bsize } = await statfs(host);
  await written(join(host, "filler"), bavail * bsize - 8 * mib);
  const start = makeCopyFiles(paths, at.store, await at.store.open(id));
  await expect(start).rejects.toMatchObject({
    reason: "DiskFull",
    message: expect.stringMatching(
      /^the host's disk has \d+ MiB for it, and it may take 1\d MiB: \d+ MiB are missing$/,
    ) as string,
  });
  expect(await readdir(copy)).toEqual(["run"]);
  await rm(join(host, "filler"));
  await rm(paths.run, { recursive: true });
  expect(await freeBytes()).toBe(before);
  await makeCopyFiles(paths, at.store, await at.store.open(id));
  expect(existsSync(paths.scratch)).toBe(true);
  await at.store.remove(id);
  await rm(copy, { recursive: true });
});

test("what is promised to one snapshot is not promised to another, and free again afterwards", async () => {
  await using at = await stage({ memoryBytes: 8 * mib, scratchBytes: mib });
  const other = "0198c0de-4444-7000-8000-000000000002" as SnapshotId;
  const begun = Promise.withResolvers<void>();
  const given = Promise.withResolvers<never>();
  const { bavail, bsize } = await statfs(host);
  const holding = at.store.make(other, bavail * bsize - 10 * mib, () => {
    begun.resolve();
    return given.promise;
  });
  // Whoever is promised first has it.
  await begun.promise;
  await expect(at.take()).rejects.toMatchObject({ code: "SNAPSHOT_NO_ROOM" });
  given.reject(new Error("given up"));
  await expect(holding).rejects.toThrow("given up");
  const { taken, files } = await at.take();
  expect(taken.sizeBytes).toBeGreaterThanOrEqual(9 * mib);
  expect(files.memory.sizeBytes).toBe(8 * mib);
  await at.store.verify(id);
  const { store } = at;
  const books = new MachineSnapshots({ store, directory: host, disks: new ImageDisks(root), runs: new Map() });
  const { totalBytes, snapshotBytes, freeBytes: toldBytes = 0 } = await books.disk();
  expect(snapshotBytes).toBe(taken.sizeBytes);
  expect(totalBytes).toBeGreaterThan(snapshotBytes);
  expect(totalBytes).toBeLessThanOrEqual(diskBytes);
  const left = await statfs(host);
  expect(toldBytes % mib).toBe(0);
  expect(left.bavail * left.bsize - toldBytes).toBeLessThan(mib);
  await at.store.remove(id);
});
