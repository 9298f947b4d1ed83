import { statfs } from "node:fs/promises";
import {
  fleetError,
  type Digest,
  type HostDisk,
  type InstanceId,
  type SnapshotId,
  type TakenSnapshot,
} from "@bulkhead/contracts";
import type { ImageDisks } from "../disk/image-disk.ts";
import type { MachineRun } from "../machine-run.ts";
import type { SnapshotStore } from "./snapshot-store.ts";

interface MachineSnapshotsParts {
  readonly store: SnapshotStore;
  /** one that is there, of the file system that snapshots lie on */
  readonly directory: string;
  readonly disks: ImageDisks;
  /** every run of this host, by whatever name */
  readonly runs: ReadonlyMap<string, MachineRun>;
}

/** What is told of a disk's room is a multiple of this, and of one part in so many of the disk. */
const freeStepBytes = 2 ** 20;
const freeSteps = 256;

/** Snapshots of a host's machines: who is taken, and who runs from their files. */
export class MachineSnapshots {
  readonly #parts: MachineSnapshotsParts;

  constructor(parts: MachineSnapshotsParts) {
    this.#parts = parts;
  }

  #living(is: (run: MachineRun) => boolean): MachineRun | undefined {
    return [...this.#parts.runs.values()].find((run) => !run.over && is(run));
  }

  /** Images that snapshots need. */
  async images(): Promise<Digest[]> {
    return (await this.#parts.store.list()).map(({ assignment }) => assignment.imageDigest);
  }

  /** What they take of the disk they lie on, and what that has left. */
  async disk(): Promise<HostDisk> {
    const { directory, store } = this.#parts;
    const { blocks, bavail, bsize } = await statfs(directory);
    const snapshotBytes = (await store.list()).reduce((sum, { taken }) => sum + taken.sizeBytes, 0);
    const totalBytes = blocks * bsize;
    // Whoever places here reads the host anew whenever it tells something else.
    const step = Math.max(freeStepBytes, Math.ceil(totalBytes / freeSteps));
    const freeBytes = Math.floor((bavail * bsize) / step) * step;
    return { totalBytes, snapshotBytes, freeBytes };
  }

  /** Asked again it answers what it took. Rejects as `MachineRun.snapshot`. */
  async take(instanceId: InstanceId, snapshotId: SnapshotId): Promise<TakenSnapshot> {
    const { store, disks } = this.#parts;
    const made = store.underWay(snapshotId) ?? store.read(snapshotId);
    const taken = (await made)?.taken;
    if (taken !== undefined) return taken;
    const run = this.#living(({ key }) => key.instanceId === instanceId);
    if (run === undefined) throw fleetError("STATE_CONFLICT", "the instance is not running; wait until it is");
    return (await run.snapshot(store, snapshotId, disks.pathOf(run.assignment.imageDigest))).taken;
  }

  /** Rejects SNAPSHOT_IN_USE: the machines that run from its files would end with them. */
  async remove(snapshotId: SnapshotId): Promise<void> {
    const user = this.#living(({ assignment: { spec } }) => spec.vm?.restoredFrom?.snapshotId === snapshotId);
    if (user !== undefined) throw fleetError("SNAPSHOT_IN_USE", `${user.assignment.name} runs from its files`);
    await this.#parts.store.remove(snapshotId);
  }
}
