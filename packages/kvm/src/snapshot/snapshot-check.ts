import { constants } from "node:fs";
import { open, type FileHandle } from "node:fs/promises";
import { fleetError, type FleetError, type SnapshotId } from "@bulkhead/contracts";
import type { ReadProgress } from "@bulkhead/node";
import { digestOf } from "../disk/file-digest.ts";
import type { StoredSnapshot } from "./snapshot-place.ts";

/** The files that are a snapshot's own, and its image's, in the order in which they are looked at. */
const files = ["state", "memory", "disk", "image"] as const;
type FileName = (typeof files)[number];

type OnRead = (progress: ReadProgress) => void;

/** One reading, and who hears how far it is. */
interface Checking {
  readonly done: Promise<void>;
  readonly listeners: OnRead[];
}

export const corrupt = (id: SnapshotId, why: string): FleetError =>
  fleetError("SNAPSHOT_CORRUPT", `snapshot ${id} is damaged: ${why}`);

/** Which file it is and when it was last written: a file that was verified and is still this one was not changed since. */
const identityOf = async (file: FileHandle): Promise<string> => {
  const { dev, ino, size, mtimeNs } = await file.stat({ bigint: true });
  return `${dev} ${ino} ${size} ${mtimeNs}`;
};

/**
 * Whether the files of snapshots are what was written. Reading all of them would take longer than everything else that a
 * restore does, so each is read once in an agent's life, and afterwards only recognised.
 */
export class SnapshotCheck {
  /** identities of the files that were found to be what was written */
  readonly #verified = new Map<SnapshotId, string>();
  readonly #checking = new Map<SnapshotId, Checking>();

  /** Two that ask at once wait for the same work. Rejects SNAPSHOT_CORRUPT, which says of which file. */
  async once(stored: StoredSnapshot): Promise<void> {
    const { snapshotId } = stored.record;
    const known = this.#verified.get(snapshotId);
    if (known !== undefined && known === (await this.#identities(stored))) return;
    await this.again(stored);
  }

  /** Reads all of it, whatever is known. Rejects SNAPSHOT_CORRUPT. */
  again(stored: StoredSnapshot, onRead?: OnRead): Promise<void> {
    const { snapshotId } = stored.record;
    const known = this.#checking.get(snapshotId);
    const listeners = known?.listeners ?? [];
    if (onRead !== undefined) listeners.push(onRead);
    if (known !== undefined) return known.done;
    const tell: OnRead = (progress) => listeners.forEach((listen) => listen(progress));
    const done = this.#verify(stored, tell).finally(() => this.#checking.delete(snapshotId));
    this.#checking.set(snapshotId, { done, listeners });
    return done;
  }

  async #verify(stored: StoredSnapshot, tell: OnRead): Promise<void> {
    const { snapshotId, files: written } = stored.record;
    this.#verified.delete(snapshotId);
    // Before they are read: what is written meanwhile makes another identity.
    const identities = await this.#identities(stored);
    const totalBytes = written.state.sizeBytes + written.memory.sizeBytes + written.disk.sizeBytes;
    let beforeBytes = 0;
    for (const name of ["state", "memory", "disk"] as const) {
      await using file = await this.#open(stored, name);
      const onRead = (readBytes: number): void => tell({ readBytes: beforeBytes + readBytes, totalBytes });
      const digest = await digestOf(file, { onRead }).catch((cause: unknown) => {
        throw corrupt(snapshotId, `its ${name} cannot be read: ${(cause as Error).message}`);
      });
      if (digest !== written[name].digest) throw corrupt(snapshotId, `its ${name} is not what was written`);
      beforeBytes += written[name].sizeBytes;
    }
    this.#verified.set(snapshotId, identities);
  }

  /** Of one whose digests were just made. */
  async trust(stored: StoredSnapshot): Promise<void> {
    this.#verified.set(stored.record.snapshotId, await this.#identities(stored));
  }

  forget(id: SnapshotId): void {
    this.#verified.delete(id);
  }

  /** Rejects SNAPSHOT_CORRUPT when one is missing, or has not its size. */
  async #identities(stored: StoredSnapshot): Promise<string> {
    const identities: string[] = [];
    for (const name of files) {
      await using file = await this.#open(stored, name);
      identities.push(await identityOf(file));
    }
    return identities.join(", ");
  }

  async #open({ record, place }: StoredSnapshot, name: FileName): Promise<FileHandle> {
    const file = await open(place[name], constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK).catch(
      (cause: unknown) => {
        throw corrupt(record.snapshotId, `its ${name} cannot be opened: ${(cause as NodeJS.ErrnoException).code}`);
      },
    );
    const found = await file.stat();
    const { sizeBytes } = record.files[name];
    if (found.isFile() && found.size === sizeBytes) return file;
    await file.close();
    throw corrupt(record.snapshotId, `its ${name} has ${found.size} bytes, of ${sizeBytes} that were written`);
  }
}
