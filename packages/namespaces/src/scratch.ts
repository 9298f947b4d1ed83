import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm, rmdir } from "node:fs/promises";
import { join } from "node:path";

const isCode = (error: unknown, ...codes: string[]): boolean =>
  error instanceof Error && "code" in error && codes.includes(String(error.code));

/**
 * Removes a tree whose names are longer than a path may be, as a hostile instance can make them: every directory is
 * first moved to the top, so that no path grows.
 */
const removeDeepTree = async (directory: string): Promise<void> => {
  for (;;) {
    const entries = await readdir(directory, { withFileTypes: true });
    if (entries.length === 0) break;
    for (const entry of entries) {
      const path = join(directory, entry.name);
      if (!entry.isDirectory()) {
        await rm(path, { force: true });
        continue;
      }
      for (const child of await readdir(path, { withFileTypes: true })) {
        const inner = join(path, child.name);
        if (child.isDirectory()) await rename(inner, join(directory, randomUUID()));
        else await rm(inner, { force: true });
      }
      await rmdir(path);
    }
  }
  await rmdir(directory);
};

/** Removes whatever an instance left, however deep it is. */
export const removeTree = async (path: string): Promise<void> => {
  await rm(path, { recursive: true, force: true }).catch(async (error: unknown) => {
    if (!isCode(error, "ENAMETOOLONG")) throw error;
    await removeDeepTree(path);
  });
};

/** Removes directories later, one at a time, so that nobody waits for a large tree; survives a crash. */
export class Trash {
  readonly #directory: string;
  readonly #onFailure: (path: string, error: unknown) => void;
  #work: Promise<void> = Promise.resolve();

  constructor(directory: string, onFailure: (path: string, error: unknown) => void) {
    this.#directory = directory;
    this.#onFailure = onFailure;
  }

  /** Takes up again what an earlier agent had not finished. */
  async sweep(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(this.#directory))
      this.#enqueue(join(this.#directory, name), () => Promise.resolve());
  }

  /** Moves `path` away at once and removes it later; then calls `afterwards`. A path that is not there is fine. */
  async put(path: string, afterwards: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    const place = join(this.#directory, randomUUID());
    try {
      await rename(path, place);
    } catch (error) {
      if (!isCode(error, "ENOENT")) throw error;
    }
    this.#enqueue(place, afterwards);
  }

  #enqueue(place: string, afterwards: () => Promise<void>): void {
    this.#work = this.#work
      .then(() => removeTree(place))
      .then(afterwards)
      .catch((error: unknown) => this.#onFailure(place, error));
  }

  /** Resolves when everything put so far is gone. */
  async settled(): Promise<void> {
    await this.#work;
  }
}
