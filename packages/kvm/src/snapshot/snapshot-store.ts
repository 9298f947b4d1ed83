import { existsSync, statSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fleetError, type SnapshotId } from "@bulkhead/contracts";
import { syncPath, type ReadProgress } from "@bulkhead/node";
import { copyWholeDisk, shareDisk, statBlockBytes } from "../disk/disk-copy.ts";
import { placeAt, type SnapshotPlace, type StoredSnapshot } from "./snapshot-place.ts";
import { SnapshotRoom } from "./snapshot-room.ts";
import { corrupt, SnapshotCheck } from "./snapshot-check.ts";
import { parseSnapshotRecord, type SnapshotRecord } from "./snapshot-record.ts";

const draftSuffix = ".making";
const drafted = /^(.*)\.making$/;

/** The snapshots that lie on this host, each a directory that is whole or not there. */
export class SnapshotStore {
  readonly #root: string;
  readonly #sync: (path: string) => Promise<void>;
  readonly #room: SnapshotRoom;
  readonly #check = new SnapshotCheck();
  readonly #making = new Map<SnapshotId, Promise<SnapshotRecord>>();

  /** `sync` makes a file, or the names in a directory, survive a power cut. */
  constructor(root: string, sync = syncPath) {
    this.#root = root;
    this.#sync = sync;
    this.#room = new SnapshotRoom(root);
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
   * A snapshot to start from: its files are what was written, as far as this was not found before of the very same files.
   * Rejects NOT_FOUND, SNAPSHOT_CORRUPT.
   */
  async open(id: SnapshotId): Promise<StoredSnapshot> {
    const stored = await this.#stored(id);
    await this.#check.once(stored);
    return stored;
  }

  /** Reads all of its files again. Rejects NOT_FOUND, SNAPSHOT_CORRUPT. */
  async verify(id: SnapshotId, onRead?: (progress: ReadProgress) => void): Promise<void> {
    await this.#check.again(await this.#stored(id), onRead);
  }

  /** Gives a copy its own of a snapshot's disk. Rejects SNAPSHOT_NO_ROOM, mostly before anything is written. */
  async copyDisk({ place }: StoredSnapshot, to: string): Promise<void> {
    if (await shareDisk(place.disk, to)) return;
    await this.#room.during(statSync(place.disk).blocks * statBlockBytes, () => copyWholeDisk(place.disk, to));
  }

  async #stored(id: SnapshotId): Promise<StoredSnapshot> {
    const place = placeAt(this.#at(id));
    const record = await this.read(id);
    if (record !== null) return { record, place };
    if (existsSync(place.directory)) throw corrupt(id, "its record is damaged, or of another version");
    throw fleetError("NOT_FOUND", `snapshot ${id} is not on this host`);
  }

  /** What is being made under this id; undefined when nothing is. */
  underWay(id: SnapshotId): Promise<SnapshotRecord> | undefined {
    return this.#making.get(id);
  }

  /**
   * Makes one of up to `bytes`; two that ask at once wait for the same work. `fill` writes every file, the record last.
   * Rejects SNAPSHOT_NO_ROOM, with nothing left of it.
   */
  make(
    id: SnapshotId,
    bytes: number,
    fill: (draft: SnapshotPlace) => Promise<SnapshotRecord>,
  ): Promise<SnapshotRecord> {
    const known = this.#making.get(id);
    if (known !== undefined) return known;
    const making = this.#fill(id, bytes, fill).finally(() => this.#making.delete(id));
    this.#making.set(id, making);
    return making;
  }

  async #fill(
    id: SnapshotId,
    bytes: number,
    fill: (draft: SnapshotPlace) => Promise<SnapshotRecord>,
  ): Promise<SnapshotRecord> {
    const there = await this.read(id);
    if (there !== null) return there;
    const draft = placeAt(`${this.#at(id)}${draftSuffix}`);
    await mkdir(this.#root, { recursive: true, mode: 0o700 });
    await rm(draft.directory, { recursive: true, force: true });
    await mkdir(draft.directory, { mode: 0o700 });
    try {
      const record = await this.#room.during(bytes, async () => {
        const filled = await fill(draft);
        const { state, memory, disk, image } = draft;
        // Whoever is told that it is taken may lose the host's power the next moment.
        for (const path of [state, memory, disk, image, draft.record, draft.directory]) await this.#sync(path);
        return filled;
      });
      await rename(draft.directory, this.#at(id));
      await this.#sync(this.#root);
      // Their digests were made of what was just written.
      await this.#check.trust({ record, place: placeAt(this.#at(id)) });
      return record;
    } finally {
      await rm(draft.directory, { recursive: true, force: true });
    }
  }

  async remove(id: SnapshotId): Promise<void> {
    await this.#making.get(id)?.catch(() => undefined);
    this.#check.forget(id);
    await rm(this.#at(id), { recursive: true, force: true });
  }

  /** All that are whole. */
  async list(): Promise<SnapshotRecord[]> {
    const records = await Promise.all((await this.#names()).map((name) => this.read(name as SnapshotId)));
    return records.filter((record) => record !== null);
  }

  /** Removes what a killed agent left half made. */
  async sweep(): Promise<void> {
    for (const name of await this.#names()) {
      const [, id] = drafted.exec(name) ?? [];
      if (id === undefined || this.#making.has(id as SnapshotId)) continue;
      await rm(join(this.#root, name), { recursive: true, force: true });
    }
  }

  #names(): Promise<string[]> {
    return readdir(this.#root).catch(() => []);
  }
}
