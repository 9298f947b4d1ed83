import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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
  readonly #known = new Map<string, Static<Schema>>();

  constructor(path: string, schema: Schema) {
    this.#path = path;
    this.#check = Compile(schema);
    mkdirSync(path, { recursive: true, mode: 0o700 });
  }

  /** Every record that is no draft, by name. */
  all(): Map<string, Static<Schema>> {
    const names = new Set(namesIn(this.#path).filter((name) => !name.startsWith(draftMark)));
    for (const name of this.#known.keys()) if (!names.has(name)) this.#known.delete(name);
    for (const name of names) {
      if (this.#known.has(name)) continue;
      const value = readJson(join(this.#path, name));
      if (this.#check.Check(value)) this.#known.set(name, value);
    }
    return new Map(this.#known);
  }

  /** Names of drafts: of what is half made or half removed, unless somebody is at it. */
  drafts(): string[] {
    return namesIn(this.#path).flatMap((name) => (name.startsWith(draftMark) ? [name.slice(1)] : []));
  }

  draft(name: string, value: Static<Schema>): void {
    writeFileSync(this.#draft(name), JSON.stringify(value), { mode: 0o600 });
  }

  /** Makes a draft a record. */
  keep(name: string): void {
    renameSync(this.#draft(name), join(this.#path, name));
  }

  put(name: string, value: Static<Schema>): void {
    this.draft(name, value);
    this.keep(name);
  }

  /** Makes a record a draft again. */
  retract(name: string): void {
    renameSync(join(this.#path, name), this.#draft(name));
  }

  /** Removes a record or a draft; one that is gone is gone. */
  remove(name: string): void {
    rmSync(join(this.#path, name), { force: true });
    rmSync(this.#draft(name), { force: true });
  }

  /** Removes all there is, also what cannot be read. */
  clear(): void {
    for (const name of namesIn(this.#path)) rmSync(join(this.#path, name), { force: true });
  }

  #draft(name: string): string {
    return join(this.#path, `${draftMark}${name}`);
  }
}
