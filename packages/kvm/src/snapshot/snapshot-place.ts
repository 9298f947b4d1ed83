import { join } from "node:path";
import type { SnapshotRecord } from "./snapshot-record.ts";

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

/** A snapshot that is whole. */
export interface StoredSnapshot {
  readonly record: SnapshotRecord;
  readonly place: SnapshotPlace;
}

export const placeAt = (directory: string): SnapshotPlace => ({
  directory,
  record: join(directory, "record.json"),
  state: join(directory, "state"),
  memory: join(directory, "memory"),
  disk: join(directory, "disk"),
  image: join(directory, "image"),
});
