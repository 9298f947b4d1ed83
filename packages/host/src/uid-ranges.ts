import { rmSync, symlinkSync } from "node:fs";
import { mkdir, readdir, readFile, readlink } from "node:fs/promises";
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

/**
 * Gives each instance (or share of namespaces, for all its members) its own range of host user and group ids. One symbolic link per taken range, named by its index
 * and pointing to the holder's id: it appears whole or not at all, so both of a host's agents may allocate at once.
 */
export class UidRanges {
  readonly #directory: string;
  readonly #first: number;
  readonly #foreign: readonly ForeignRange[];
  readonly #taken = new Map<string, number>();
  readonly #indexes = new Set<number>();
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
    await mkdir(directory, { recursive: true, mode: 0o700 });
    const foreign = (await Promise.all(subordinateFiles.map(readIfThere))).flatMap(parseSubordinateIds);
    const ranges = new UidRanges(directory, Number.parseInt(hash, 16) % rangeCount, foreign);
    for (const name of await readdir(directory)) {
      const index = Number(name);
      if (!Number.isInteger(index) || index < 0 || index >= rangeCount) continue;
      ranges.#remember(await readlink(join(directory, name)), index);
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
    for (let tried = 0; tried < rangeCount; tried += 1) {
      const index = (this.#first + this.#next) % rangeCount;
      this.#next = (this.#next + 1) % rangeCount;
      if (this.#clashes(index)) continue;
      if (this.#claim(index, holder)) return { firstId: firstIdOf(index), ids: idsPerRange };
    }
    throw fleetError("NO_CAPACITY", `All ${rangeCount} id ranges of this host are taken or lie in /etc/subuid.`);
  }

  /** At once, as `free`: a link is some 20 µs in the page cache, and a turn through the thread pool costs several times that. */
  #claim(index: number, holder: string): boolean {
    if (this.#indexes.has(index)) return false;
    this.#remember(holder, index);
    try {
      symlinkSync(holder, join(this.#directory, String(index)));
      return true;
    } catch (error) {
      this.#forget(holder, index);
      if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
      throw error;
    }
  }

  /** Frees a holder's range; only when no file on disk belongs to it any more. */
  free(holder: string): void {
    const index = this.#taken.get(holder);
    if (index === undefined) return;
    rmSync(join(this.#directory, String(index)), { force: true });
    this.#forget(holder, index);
  }

  #remember(holder: string, index: number): void {
    this.#taken.set(holder, index);
    this.#indexes.add(index);
  }

  #forget(holder: string, index: number): void {
    this.#taken.delete(holder);
    this.#indexes.delete(index);
  }
}
