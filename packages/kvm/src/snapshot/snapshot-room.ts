import { statfs } from "node:fs/promises";
import { fleetError } from "@bulkhead/contracts";

/** What a disk that has no more says, to a call and in the words of a program that was refused. */
const diskFull = /\b(ENOSPC|EDQUOT)\b|No space left on device|Disk quota exceeded/;

const isDiskFull = (error: unknown): boolean => error instanceof Error && diskFull.test(error.message);

const mib = (bytes: number): number => Math.ceil(bytes / 2 ** 20);

/**
 * Room for snapshots and for the disks of their copies: what the file system has for others than root (ext4 keeps a
 * twentieth back by default), without what was promised to those that are just being made.
 */
export class SnapshotRoom {
  readonly #directory: string;
  #promised = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Does what writes up to `bytes`. Rejects SNAPSHOT_NO_ROOM, before it begins or when there was less than it seemed. */
  async during<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    const ahead = this.#promised;
    this.#promised += bytes;
    try {
      const { bavail, bsize } = await statfs(this.#directory);
      const free = bavail * bsize - ahead;
      if (free < bytes) {
        const what = `the host's disk has ${mib(Math.max(0, free))} MiB for it, and it may take ${mib(bytes)} MiB`;
        throw fleetError("SNAPSHOT_NO_ROOM", `${what}: ${mib(bytes - Math.max(0, free))} MiB are missing`);
      }
      return await work();
    } catch (cause) {
      if (!isDiskFull(cause)) throw cause;
      throw fleetError("SNAPSHOT_NO_ROOM", "the host's disk became full meanwhile", { cause });
    } finally {
      this.#promised -= bytes;
    }
  }
}
