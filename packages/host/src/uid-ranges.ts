import { closeSync, openSync, renameSync, unlinkSync } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fleetError } from "@bulkhead/contracts";

/** Ids in one range: a full 16-bit space, as distributions expect inside an instance. */
export const idsPerRange = 65_536;
/** First host id of the first range; below it lie human users and the usual /etc/subuid ranges. */
export const firstRangeId = 0x1000_0000;
/** Ranges end before 2^31, where some programs still read ids as signed. */
export const rangeCount = (0x8000_0000 - firstRangeId) / idsPerRange;

export interface UidRange {
  /** host id that is root inside */
  readonly firstId: number;
  readonly ids: number;
}

interface ForeignRange {
  readonly firstId: number;
  readonly ids: number;
}

/** Ranges of /etc/subuid or /etc/subgid (subuid(5)); lines that are not `name:first:count` are ignored, as newuidmap does. */
export const parseSubordinateIds = (text: string): ForeignRange[] =>
  text.split("\n").flatMap((line) => {
    const [, first = "", count = ""] = line.trim().split(":");
    return /^\d+$/.test(first) && /^\d+$/.test(count) ? [{ firstId: Number(first), ids: Number(count) }] : [];
  });

const readIfThere = async (path: string): Promise<string> =>
  readFile(path, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return "";
    throw error;
  });

const firstIdOf = (index: number): number => firstRangeId + index * idsPerRange;

const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;

/** Where a range is claimed for the first time: an empty file named by its index, which stays. */
const opened = "opened";

/** Index and holder of a range's file, or null for another name. */
const parseName = (name: string): { index: number; holder: string | null } | null => {
  const [, digits, holder] = /^(\d{1,5})(?:@(.+))?$/.exec(name) ?? [];
  const index = Number(digits);
  return digits === undefined || index >= rangeCount ? null : { index, holder: holder ?? null };
};

/** Whether a path below a `uid-ranges` directory stays there when every instance is gone. */
export const isUnheldRange = (path: string): boolean => /\/uid-ranges\/(\d+|opened(\/\d+)?)$/.test(path);

/**
 * Gives each instance (or share of namespaces, for all its members) its own range of host user and group ids. Each range
 * that was ever used is one empty file, named `INDEX` while it is free and `INDEX@HOLDER` while somebody has it. A rename changes hands whole or not at all, so
 * both of a host's agents may allocate at once; and it takes no new inode, which on ext4 is looked for past every one
 * that was removed in the last minute.
 */
export class UidRanges {
  readonly #directory: string;
  readonly #first: number;
  readonly #foreign: readonly ForeignRange[];
  readonly #taken = new Map<string, number>();
  /** opened by somebody, now or earlier */
  readonly #known = new Set<number>();
  #free: number[] = [];
  #next = 0;

  private constructor(directory: string, first: number, foreign: readonly ForeignRange[]) {
    this.#directory = directory;
    this.#first = first;
    this.#foreign = foreign;
  }

  /**
   * Reads what is taken. The search starts at a place that the host's hash decides, so that two hosts on one machine
   * are unlikely to use the same ids.
   */
  static async open(
    directory: string,
    hash: string,
    subordinateFiles: readonly string[] = ["/etc/subuid", "/etc/subgid"],
  ): Promise<UidRanges> {
    await mkdir(join(directory, opened), { recursive: true, mode: 0o700 });
    const foreign = (await Promise.all(subordinateFiles.map(readIfThere))).flatMap(parseSubordinateIds);
    const ranges = new UidRanges(directory, Number.parseInt(hash, 16) % rangeCount, foreign);
    for (const name of await readdir(join(directory, opened))) ranges.#known.add(Number(name));
    for (const name of await readdir(directory)) {
      const range = parseName(name);
      if (range === null) continue;
      if (range.holder === null) ranges.#free.push(range.index);
      else ranges.#taken.set(range.holder, range.index);
    }
    return ranges;
  }

  /** How many ranges this process knows to be taken. */
  get taken(): number {
    return this.#taken.size;
  }

  /** Ids of whoever has a range. */
  holders(): string[] {
    return [...this.#taken.keys()];
  }

  #clashes(index: number): boolean {
    const first = firstIdOf(index);
    return this.#foreign.some((range) => range.firstId < first + idsPerRange && first < range.firstId + range.ids);
  }

  /** The holder's range, a new one when it has none. Throws NO_CAPACITY when all are taken. */
  allocate(holder: string): UidRange {
    const known = this.#taken.get(holder);
    if (known !== undefined) return { firstId: firstIdOf(known), ids: idsPerRange };
    const index = this.#takeFree(holder) ?? this.#openAnother(holder);
    if (index !== null) {
      this.#taken.set(holder, index);
      return { firstId: firstIdOf(index), ids: idsPerRange };
    }
    throw fleetError("NO_CAPACITY", `All ${rangeCount} id ranges of this host are taken or lie in /etc/subuid.`);
  }

  #path(index: number, holder?: string): string {
    return `${this.#directory}/${holder === undefined ? index : `${index}@${holder}`}`;
  }

  /** At once, as all of these: each is some 20 µs in the page cache, and a turn through the thread pool several times that. */
  #takeFree(holder: string): number | null {
    for (;;) {
      const index = this.#free.shift();
      if (index === undefined) return null;
      if (this.#clashes(index)) continue;
      try {
        renameSync(this.#path(index), this.#path(index, holder));
        return index;
      } catch (error) {
        // The other agent was first.
        if (!isCode(error, "ENOENT")) throw error;
      }
    }
  }

  #openAnother(holder: string): number | null {
    for (let tried = 0; tried < rangeCount; tried += 1) {
      const index = (this.#first + this.#next) % rangeCount;
      this.#next = (this.#next + 1) % rangeCount;
      if (this.#known.has(index) || this.#clashes(index)) continue;
      this.#known.add(index);
      try {
        closeSync(openSync(join(this.#directory, opened, String(index)), "wx", 0o600));
      } catch (error) {
        if (isCode(error, "EEXIST")) continue;
        throw error;
      }
      try {
        closeSync(openSync(this.#path(index, holder), "wx", 0o600));
        return index;
      } catch (error) {
        // No space: the next who asks may try this one again.
        unlinkSync(join(this.#directory, opened, String(index)));
        this.#known.delete(index);
        throw error;
      }
    }
    return null;
  }

  /** Frees a holder's range; only when no file on disk belongs to it any more. */
  free(holder: string): void {
    const index = this.#taken.get(holder);
    if (index === undefined) return;
    try {
      renameSync(this.#path(index, holder), this.#path(index));
      this.#free.push(index);
    } catch (error) {
      if (!isCode(error, "ENOENT")) throw error;
    }
    this.#taken.delete(holder);
  }
}
