import { createHash } from "node:crypto";
import { lstat, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fleetError, type Digest, type SnapshotId } from "@bulkhead/contracts";
import { parseSnapshotRecord, type SnapshotRecord } from "./snapshot-record.ts";

/** Where one snapshot lies: nobody but root reaches it, and nothing in it changes once it is there. */
export interface SnapshotPlace {
  readonly directory: string;
  readonly record: string;
  readonly state: string;
  readonly memory: string;
  /** the instance's writable disk as it was */
  readonly disk: string;
  /** its image's disk: the very file, which what was in memory goes with, even when the host makes it anew */
  readonly image: string;
}

const placeAt = (directory: string): SnapshotPlace => ({
  directory,
  record: join(directory, "record.json"),
  state: join(directory, "state"),
  memory: join(directory, "memory"),
  disk: join(directory, "disk"),
  image: join(directory, "image"),
});

/** Longest state file that a monitor of ours writes (native/kvm/src/snapshot/state_file.h). */
const stateBytesMax = 8 * 2 ** 20;
const draftSuffix = ".making";

/** A regular file's size; -1 for anything else. */
const sizeOf = async (path: string): Promise<number> => {
  const found = await lstat(path).catch(() => null);
  return found?.isFile() === true ? found.size : -1;
};

/** SHA-256 of a state file. Throws RUNTIME_FAILED for one that is too long to be one: the monitor wrote it. */
export const digestOfState = async (path: string): Promise<string> => {
  const size = await sizeOf(path);
  if (size < 0 || size > stateBytesMax) throw fleetError("RUNTIME_FAILED", `the state file is of ${size} bytes`);
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
};

/** The snapshots that lie on this host, each a directory that is whole or not there. */
export class SnapshotStore {
  readonly #root: string;
  readonly #making = new Map<SnapshotId, Promise<SnapshotRecord>>();

  constructor(root: string) {
    this.#root = root;
  }

  #at(id: SnapshotId): string {
    return join(this.#root, id);
  }

  /** null when it is not here. */
  async read(id: SnapshotId): Promise<SnapshotRecord | null> {
    const text = await readFile(placeAt(this.#at(id)).record, "utf8").catch(() => null);
    const record = text === null ? null : parseSnapshotRecord(text);
    return record?.snapshotId === id ? record : null;
  }

  /**
   * A snapshot whose files are those that were made, as far as their sizes tell, and all of the state file. What is in
   * memory and disk is the guest's own, whoever reads it. Rejects NOT_FOUND, RUNTIME_FAILED.
   */
  async open(id: SnapshotId): Promise<{ readonly record: SnapshotRecord; readonly place: SnapshotPlace }> {
    const record = await this.read(id);
    if (record === null) throw fleetError("NOT_FOUND", `snapshot ${id} is not on this host`);
    const place = placeAt(this.#at(id));
    for (const [path, size] of [
      [place.state, record.stateBytes],
      [place.memory, record.memoryBytes],
      [place.disk, record.diskBytes],
      [place.image, record.imageBytes],
    ] as const) {
      if ((await sizeOf(path)) !== size) throw fleetError("RUNTIME_FAILED", `${path} is not the file that was made`);
    }
    if ((await digestOfState(place.state)) !== record.stateSha256) {
      throw fleetError("RUNTIME_FAILED", `${place.state} is not what was written`);
    }
    return { record, place };
  }

  /** What is being made under this id; undefined when nothing is. */
  underWay(id: SnapshotId): Promise<SnapshotRecord> | undefined {
    return this.#making.get(id);
  }

  /** Makes one; two that ask at once wait for the same work. `fill` writes every file, the record last. */
  make(id: SnapshotId, fill: (draft: SnapshotPlace) => Promise<SnapshotRecord>): Promise<SnapshotRecord> {
    const known = this.#making.get(id);
    if (known !== undefined) return known;
    const making = this.#fill(id, fill).finally(() => this.#making.delete(id));
    this.#making.set(id, making);
    return making;
  }

  async #fill(id: SnapshotId, fill: (draft: SnapshotPlace) => Promise<SnapshotRecord>): Promise<SnapshotRecord> {
    const there = await this.read(id);
    if (there !== null) return there;
    const draft = placeAt(`${this.#at(id)}${draftSuffix}`);
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    await rm(draft.directory, { recursive: true, force: true });
    await mkdir(draft.directory, { mode: 0o700 });
    try {
      const record = await fill(draft);
      await rename(draft.directory, this.#at(id));
      return record;
    } finally {
      await rm(draft.directory, { recursive: true, force: true });
    }
  }

  async remove(id: SnapshotId): Promise<void> {
    await this.#making.get(id)?.catch(() => undefined);
    await rm(this.#at(id), { recursive: true, force: true });
  }

  /** Images of all snapshots; what a killed agent left half made goes. */
  async images(): Promise<Digest[]> {
    const names: readonly string[] = await readdir(this.#root).catch(() => []);
    const digests: Digest[] = [];
    for (const name of names) {
      const id = name as SnapshotId;
      if (name.endsWith(draftSuffix)) {
        if (!this.#making.has(name.slice(0, -draftSuffix.length) as SnapshotId)) {
          await rm(join(this.#root, name), { recursive: true, force: true });
        }
        continue;
      }
      const record = await this.read(id);
      if (record !== null) digests.push(record.assignment.imageDigest);
    }
    return digests;
  }
}
