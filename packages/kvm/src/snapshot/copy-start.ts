import { existsSync } from "node:fs";
import { open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { isFleetError, type Assignment } from "@bulkhead/contracts";
import { settlesWithin, StartFailure } from "@bulkhead/node";
import { makeSmallDisk } from "../disk/scratch-disk.ts";
import type { Engine } from "../engine/engine.ts";
import { GuestChannel } from "../guest/channel.ts";
import { becomeInGuest } from "../guest/orders.ts";
import type { GuestIdentity } from "../guest/settings.ts";
import type { MachinePaths } from "../machine-paths.ts";
import { failedIn, makeRunDirectory, type BegunMachine } from "../machine-start.ts";
import { readReport } from "../report-watch.ts";
import { haltOf, writeHalt } from "./halt.ts";
import { RunHalt } from "./run-halt.ts";
import type { StoredSnapshot } from "./snapshot-place.ts";
import type { SnapshotStore } from "./snapshot-store.ts";

/** How long a copy may take until its agent listens, in milliseconds; an emulated one on a busy host is slow. */
const awakeMs = 180_000;
/** A monitor that has just begun listens at no socket yet, and its guest at no port. */
const againMs = 20;
/** A guest that gave up closes the connection before its monitor ends, in milliseconds. */
const endingMs = 5_000;

/**
 * Takes back what an agent that was killed left of copies that never went on: their disk goes with a memory that is gone,
 * and an instance that has one would boot from it. Nothing of the instance runs. The disk of one that is no copy is its
 * user's, whatever is said of it.
 */
export const undoHalfCopies = async (
  { spec }: Pick<Assignment, "spec">,
  { root, scratch }: Pick<MachinePaths, "root" | "scratch">,
): Promise<void> => {
  if (spec.vm?.restoredFrom === undefined) return;
  const names: readonly string[] = await readdir(root).catch(() => []);
  for (const run of names.map((name) => join(root, name))) {
    if (haltOf({ run }) !== "identity") continue;
    await rm(scratch, { force: true });
    await rm(run, { recursive: true, force: true });
  }
};

/**
 * What this start is a copy of; null for one that boots. An instance is a copy once: afterwards it has a disk of its own,
 * which what the snapshot has in memory does not go with. Rejects StartFailure when the snapshot is not as it was made.
 */
export const originOf = async (
  store: SnapshotStore,
  { spec }: Assignment,
  paths: MachinePaths,
): Promise<StoredSnapshot | null> => {
  const from = spec.vm?.restoredFrom;
  if (from === undefined || existsSync(paths.scratch)) return null;
  return store.open(from.snapshotId).catch((cause: unknown) => {
    const reason = isFleetError(cause) && cause.code === "SNAPSHOT_CORRUPT" ? "SnapshotCorrupt" : "RuntimeFailed";
    throw new StartFailure(reason, `it cannot be restored: ${(cause as Error).message}`, cause);
  });
};

/**
 * The disks of a copy: its own of what is written; what is only read at the boot needs its size alone. Rejects StartFailure.
 */
export const makeCopyFiles = async (
  paths: MachinePaths,
  store: SnapshotStore,
  stored: StoredSnapshot,
): Promise<void> => {
  await makeRunDirectory(paths);
  // Before there is a disk: with one that nobody says this of, the instance would boot.
  await writeHalt(paths, "identity");
  await store.copyDisk(stored, paths.scratch).catch((cause: unknown) => {
    const full = isFleetError(cause) && cause.code === "SNAPSHOT_NO_ROOM";
    throw new StartFailure(full ? "DiskFull" : "RuntimeFailed", (cause as Error).message, cause);
  });
  await makeSmallDisk(paths.report);
  await using settings = await open(paths.settings, "w", 0o644);
  await settings.truncate(stored.record.settingsBytes);
};

/** From the instance's id, so that two copies never have the same. */
export const identityOf = ({ instanceId, name, network }: Assignment): GuestIdentity => ({
  hostname: name,
  network,
  machineId: instanceId.replaceAll("-", ""),
});

/** A restored machine, and who it is to be. */
export type BegunCopy = BegunMachine & { readonly engine: Engine; readonly identity: GuestIdentity };

/** Tries until the guest's agent listens. */
const awake = async ({ ports }: MachinePaths, engine: Engine, over: () => boolean): Promise<GuestChannel> => {
  for (const deadlineMs = performance.now() + awakeMs; ;) {
    try {
      return await GuestChannel.open(() => engine.connect(ports));
    } catch (error) {
      if (over() || performance.now() > deadlineMs) throw error;
      await setTimeout(againMs);
    }
  }
};

/** Has it run on; rejects when it does not, or ended before it did. */
const letGo = async ({ paths, engine }: BegunCopy, over: () => boolean): Promise<void> => {
  // A connection ends with its last order.
  const talk = async (say: (channel: GuestChannel) => Promise<void>): Promise<void> =>
    say(await GuestChannel.open(() => engine.connect(paths.ports)));
  const halt = new RunHalt({ standstill: engine.standstill, paths, talk, over });
  try {
    await halt.goOn();
  } finally {
    halt.leave();
  }
  if (haltOf(paths) !== null) throw new Error("it ended before its processes went on");
};

/**
 * Makes a restored machine somebody else and lets it go on: resolves when it has said that it is, and its processes run.
 * Rejects StartFailure.
 */
export const awaitCopy = async (machine: BegunCopy, signal: AbortSignal): Promise<void> => {
  const { jailed, paths, process, engine, identity, lastWords } = machine;
  const gone = jailed.ended.then(() => true);
  let over = false;
  void gone.then(() => (over = true));
  try {
    const channel = await awake(paths, engine, () => over || signal.aborted);
    await becomeInGuest(channel, identity);
    signal.throwIfAborted();
    await writeHalt(paths, "thaw");
    await letGo(machine, () => over || signal.aborted);
  } catch (cause) {
    signal.throwIfAborted();
    // One that gave up says so before it switches itself off.
    if (await settlesWithin(gone, endingMs)) {
      const report = readReport(paths.report);
      if (report?.state === "failed") throw failedIn(report, process);
      const { detail } = await jailed.ended;
      const what = `the copy ended before it went on (${detail ?? ""})${await lastWords()}`;
      throw new StartFailure("RuntimeFailed", what, cause);
    }
    const what = `the copy did not go on: ${(cause as Error).message}${await lastWords()}`;
    throw new StartFailure("RuntimeFailed", what, cause);
  }
};
