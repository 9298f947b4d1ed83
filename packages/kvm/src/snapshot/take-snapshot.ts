import { chmod, link, writeFile } from "node:fs/promises";
import { statSync } from "node:fs";
import type { SnapshotId } from "@bulkhead/contracts";
import { copyDisk, diskUse } from "../disk/disk-copy.ts";
import type { Engine, Standstill } from "../engine/engine.ts";
import type { GuestChannel } from "../guest/channel.ts";
import { freezeGuest } from "../guest/orders.ts";
import type { MachinePaths } from "../machine-paths.ts";
import type { MachineRecord } from "../machine-record.ts";
import { goOn, writeHalt } from "./halt.ts";
import type { SnapshotRecord } from "./snapshot-record.ts";
import { digestOfState, type SnapshotPlace } from "./snapshot-store.ts";

/** A running machine, as far as it is taken to files. */
export interface TakenMachine {
  readonly engine: Engine;
  readonly standstill: Standstill;
  readonly paths: MachinePaths;
  readonly record: MachineRecord;
  /** disk of its image, which it has open */
  readonly image: string;
  /** Has its guest's agent listen. */
  readonly talk: (say: (channel: GuestChannel) => Promise<void>) => Promise<void>;
}

/** Everyone but the owner of a jail is kept away by the directory; the jail's own user has to read the files. */
const readableMode = 0o644;

/** Keeps the processes still, then the machine, and takes both files and the disk of that moment. */
const takeFiles = async (machine: TakenMachine, draft: SnapshotPlace): Promise<number> => {
  const { standstill, paths, talk } = machine;
  const beganMs = performance.now();
  await writeHalt(paths, "thaw");
  try {
    await talk(freezeGuest);
    await standstill.begin(paths.ports);
    await standstill.save(paths.ports, draft);
    // The memory knows what is on this disk, and nothing can be written to it before both are taken.
    await copyDisk(paths.scratch, draft.disk);
  } catch (error) {
    // Why it was not taken matters more than that the machine, which may be gone, did not go on.
    await goOn(standstill, paths, talk).catch(() => undefined);
    throw error;
  }
  await goOn(standstill, paths, talk);
  return Math.ceil(performance.now() - beganMs);
};

/** Takes a running machine to files; it goes on afterwards, whatever came of it. */
export const takeSnapshot = async (
  machine: TakenMachine,
  id: SnapshotId,
  draft: SnapshotPlace,
): Promise<SnapshotRecord> => {
  const { record: running, engine, paths } = machine;
  await link(machine.image, draft.image);
  const stoodStillMs = await takeFiles(machine, draft);
  const stateSha256 = await digestOfState(draft.state);
  const [state, memory, disk, image] = await Promise.all(
    [draft.state, draft.memory, draft.disk, draft.image].map(diskUse),
  );
  for (const path of [draft.state, draft.memory]) await chmod(path, readableMode);
  const sizeBytes = (state?.takenBytes ?? 0) + (memory?.takenBytes ?? 0) + (disk?.takenBytes ?? 0);
  const { args, env, cwd, user, stopSignal } = running.process;
  const record: SnapshotRecord = {
    version: 1,
    snapshotId: id,
    taken: { engine: engine.name, sizeBytes, stoodStillMs },
    assignment: running.assignment,
    process: { args: [...args], env: [...env], cwd, user, stopSignal },
    ...(running.kernel === undefined ? {} : { kernel: running.kernel }),
    stateSha256,
    stateBytes: state?.sizeBytes ?? 0,
    memoryBytes: memory?.sizeBytes ?? 0,
    diskBytes: disk?.sizeBytes ?? 0,
    imageBytes: image?.sizeBytes ?? 0,
    settingsBytes: statSync(paths.settings).size,
  };
  await writeFile(draft.record, JSON.stringify(record), { mode: 0o600 });
  return record;
};
