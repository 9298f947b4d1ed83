import { constants, statSync } from "node:fs";
import { chmod, link, open, writeFile } from "node:fs/promises";
import { snapshotStateBytesMax, type MachineEngine, type SnapshotId } from "@bulkhead/contracts";
import { copyDisk, statBlockBytes } from "../disk/disk-copy.ts";
import { digestOf } from "../disk/file-digest.ts";
import type { Standstill } from "../engine/engine.ts";
import type { GuestChannel } from "../guest/channel.ts";
import { freezeGuest } from "../guest/orders.ts";
import type { MachinePaths } from "../machine-paths.ts";
import type { MachineRecord } from "../machine-record.ts";
import { memoryMibOf } from "../machine-size.ts";
import type { RunHalt } from "./run-halt.ts";
import type { SnapshotRecord } from "./snapshot-record.ts";
import type { SnapshotPlace } from "./snapshot-place.ts";

/** A running machine, as far as it is taken to files. */
export interface TakenMachine {
  readonly engine: MachineEngine;
  readonly standstill: Standstill;
  readonly paths: MachinePaths;
  readonly record: MachineRecord;
  /** disk of its image, which it has open */
  readonly image: string;
  /** Has its guest's agent listen. */
  readonly talk: (say: (channel: GuestChannel) => Promise<void>) => Promise<void>;
  readonly halt: RunHalt;
}

/** Everyone but the owner of a jail is kept away by the directory; the jail's own user has to read the files. */
const readableMode = 0o644;

/** A file that is whole now, and what it takes of the host's disk, in bytes. */
const writtenFile = async (
  path: string,
): Promise<{ readonly file: SnapshotRecord["files"]["state"]; readonly takenBytes: number }> => {
  await using file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  const digest = await digestOf(file);
  const { size, blocks } = await file.stat();
  return { file: { sizeBytes: size, digest }, takenBytes: blocks * statBlockBytes };
};

interface TakenFiles {
  readonly stoodStillMs: number;
  /** its disk takes nothing but what the machine writes from now on */
  readonly diskShared: boolean;
}

/** Keeps the processes still, then the machine, and takes both files and the disk of that moment. */
const takeFiles = async (machine: TakenMachine, draft: SnapshotPlace): Promise<TakenFiles> => {
  const { standstill, paths, record, talk, halt } = machine;
  const beganMs = performance.now();
  let diskShared = false;
  await halt.during(async () => {
    await talk(freezeGuest);
    await standstill.begin(paths.ports);
    await standstill.save(paths.ports, draft, memoryMibOf(record.assignment.spec.resources));
    // The memory knows what is on this disk, and nothing can be written to it before both are taken.
    diskShared = await copyDisk(paths.scratch, draft.disk);
  });
  return { stoodStillMs: Math.ceil(performance.now() - beganMs), diskShared };
};

/** What a snapshot of it takes of the host's disk at most, in bytes: all of its memory, and what its disk has by now. */
export const snapshotBytes = ({ record, paths }: Pick<TakenMachine, "record" | "paths">): number => {
  const memory = memoryMibOf(record.assignment.spec.resources) * 2 ** 20;
  return memory + statSync(paths.scratch).blocks * statBlockBytes + snapshotStateBytesMax;
};

/** Takes a running machine to files; it goes on afterwards, whatever came of it. */
export const takeSnapshot = async (
  machine: TakenMachine,
  id: SnapshotId,
  draft: SnapshotPlace,
): Promise<SnapshotRecord> => {
  const { record: running, engine, paths } = machine;
  await link(machine.image, draft.image);
  const { stoodStillMs, diskShared } = await takeFiles(machine, draft);
  // What was written is read for its digests while the machine runs on.
  const [state, memory, disk] = [
    await writtenFile(draft.state),
    await writtenFile(draft.memory),
    await writtenFile(draft.disk),
  ];
  for (const path of [draft.state, draft.memory]) await chmod(path, readableMode);
  const sizeBytes = state.takenBytes + memory.takenBytes + disk.takenBytes;
  const { args, env, cwd, user, stopSignal } = running.process;
  const record: SnapshotRecord = {
    version: 2,
    snapshotId: id,
    taken: { engine, sizeBytes, copyBytes: diskShared ? 0 : disk.takenBytes, stoodStillMs },
    assignment: running.assignment,
    process: { args: [...args], env: [...env], cwd, user, stopSignal },
    ...(running.kernel === undefined ? {} : { kernel: running.kernel }),
    files: {
      state: state.file,
      memory: memory.file,
      disk: disk.file,
      image: { sizeBytes: statSync(draft.image).size },
    },
    settingsBytes: statSync(paths.settings).size,
  };
  await writeFile(draft.record, JSON.stringify(record), { mode: 0o600 });
  return record;
};
