import { mkdirSync, readdirSync, readFileSync, renameSync, unlinkSync, writeFileSync } from "node:fs";
import type { Static, TSchema } from "typebox";
import { Compile } from "typebox/compile";

const isMissing = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT";

/** The parsed file; undefined when it is not there (another agent removed it) or was cut by a crash. */
export const readJson = (path: string): unknown => {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    if (isMissing(error) || error instanceof SyntaxError) return undefined;
    throw error;
  }
};

/** Nothing, where whoever gave the host up removed the directory. */
const namesIn = (directory: string): string[] => {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
};

const removeFile = (path: string): void => {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
};

/** What a draft's name begins with. */
const draftMark = ".";

/**
 * Records of one kind that agents of a host share, one file each. A record is a draft while what it tells of is being
 * made or removed, and never changes. For a directory on tmpfs: calls are synchronous, because each takes some 20 µs and
 * a turn through the thread pool several times that.
 */
export class RecordDirectory<Schema extends TSchema> {
  readonly #path: string;
  readonly #check: ReturnType<typeof Compile<Schema>>;
  #known = new Map<string, Static<Schema>>();
  /** drafts that were records until this process retracted them: what they say need not be read */
  readonly #retracted = new Map<string, Static<Schema>>();

  constructor(path: string, schema: Schema) {
    this.#path = path;
    this.#check = Compile(schema);
    mkdirSync(path, { recursive: true, mode: 0o700 });
  }

  /** Every record that is no draft, by name. */
  all(): Map<string, Static<Schema>> {
    return this.read().records;
  }

  /** Names of drafts: of what is half made or half removed, unless somebody is at it. */
  drafts(): string[] {
    return this.read().drafts;
  }

  /** Both, from one look at the directory. */
  read(): { records: Map<string, Static<Schema>>; drafts: string[] } {
    const drafts: string[] = [];
    const records = new Map<string, Static<Schema>>();
    for (const name of namesIn(this.#path)) {
      if (name.startsWith(draftMark)) {
        drafts.push(name.slice(draftMark.length));
        continue;
      }
      const value = this.#known.get(name) ?? this.#valid(`${this.#path}/${name}`);
      if (value !== undefined) records.set(name, value);
    }
    this.#known = records;
    // Somebody else removed them.
    if (this.#retracted.size > drafts.length) {
      const left = new Set(drafts);
      for (const name of this.#retracted.keys()) if (!left.has(name)) this.#retracted.delete(name);
    }
    return { records: new Map(records), drafts };
  }

  /** What a draft says; undefined for one that was cut, or is gone. */
  draftOf(name: string): Static<Schema> | undefined {
    return this.#retracted.get(name) ?? this.#valid(this.#draft(name));
  }

  #valid(path: string): Static<Schema> | undefined {
    const value = readJson(path);
    return this.#check.Check(value) ? value : undefined;
  }

  draft(name: string, value: Static<Schema>): void {
    this.#retracted.delete(name);
    writeFileSync(this.#draft(name), JSON.stringify(value), { mode: 0o600 });
  }

  /** Makes a draft a record. */
  keep(name: string): void {
    renameSync(this.#draft(name), `${this.#path}/${name}`);
  }

  put(name: string, value: Static<Schema>): void {
    this.draft(name, value);
    this.keep(name);
    // It never changes, so it need not be read to be known.
    this.#known.set(name, value);
  }

  /** Makes a record a draft again. */
  retract(name: string): void {
    renameSync(`${this.#path}/${name}`, this.#draft(name));
    const known = this.#known.get(name);
    if (known !== undefined) this.#retracted.set(name, known);
  }

  /** Removes a record or a draft; one that is gone is gone. */
  remove(name: string): void {
    if (!this.#retracted.delete(name)) removeFile(`${this.#path}/${name}`);
    removeFile(this.#draft(name));
  }

  /** Removes all there is, also what cannot be read. */
  clear(): void {
    for (const name of namesIn(this.#path)) removeFile(`${this.#path}/${name}`);
  }

  #draft(name: string): string {
    return `${this.#path}/${draftMark}${name}`;
  }
}
