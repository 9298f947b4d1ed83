import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { removeTrees } from "@bulkhead/native-namespaces";

const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;

interface Waiting {
  readonly place: string;
  /** directories in it that may serve again; none: it goes itself */
  readonly kept: readonly string[];
  readonly afterwards: () => void | Promise<void>;
}

/** How many emptied directories wait for another use; more are removed. */
const sparesMax = 64;

/** How long directories wait for more before they are removed, in milliseconds: each batch is a thread. */
const gatherMs = 20;

/**
 * Removes directories later, all that wait in one go, so that nobody waits for a large tree; survives a crash. What is
 * made the same way for every instance, and never seen by any, is emptied instead and can be taken out again: making and
 * removing it costs more than the rest of an instance's files. Whatever lies here when an agent starts, it removes.
 */
export class Trash {
  readonly #directory: string;
  readonly #onFailure: (path: string, error: unknown) => void;
  #waiting: Waiting[] = [];
  readonly #spares: string[] = [];
  /** how many wait until everything is gone */
  #settling = 0;
  #work: Promise<void> | null = null;
  #gathering: NodeJS.Timeout | undefined;

  constructor(directory: string, onFailure: (path: string, error: unknown) => void) {
    this.#directory = directory;
    this.#onFailure = onFailure;
  }

  /** Takes up again what an earlier agent had not finished. */
  sweep(): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#directory)) this.#enqueue({ place: join(this.#directory, name) });
  }

  /**
   * Moves `path` away at once and removes it later; then calls `afterwards`. Directories in it that are `kept` may stay
   * with it, empty, for whoever takes it. A path that is not there is fine. Throws when it cannot be moved.
   */
  put(path: string, options: Partial<Pick<Waiting, "kept" | "afterwards">> = {}): void {
    const place = join(this.#directory, randomUUID());
    let { kept = [] } = options;
    try {
      // Within one file system and without the thread pool: a rename takes some 10 µs.
      renameSync(path, place);
    } catch (error) {
      if (!isCode(error, "ENOENT")) throw error;
      kept = [];
    }
    this.#enqueue({ ...options, place, kept });
  }

  /** Makes `path` out of what was put away with the directories that are kept; false when there is none. */
  take(path: string): boolean {
    for (;;) {
      const spare = this.#spares.shift();
      if (spare === undefined) return false;
      try {
        renameSync(spare, path);
        return true;
      } catch (error) {
        if (!isCode(error, "ENOENT")) throw error;
      }
    }
  }

  #enqueue({ place, kept = [], afterwards = () => undefined }: Partial<Waiting> & Pick<Waiting, "place">): void {
    this.#waiting.push({ place, kept, afterwards });
    this.#gathering ??= setTimeout(() => this.#begin(), gatherMs);
  }

  #begin(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    this.#work ??= this.#removeAll().finally(() => {
      this.#work = null;
      if (this.#waiting.length > 0) this.#begin();
    });
  }

  async #removeAll(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const failures = await removeTrees(batch.map(({ place, kept }) => ({ path: place, kept })));
      for (const [index, { place, kept, afterwards }] of batch.entries()) {
        try {
          const failure = failures[index] ?? null;
          if (failure !== null && kept.length > 0) {
            // Somebody made it his own.
            this.#enqueue({ place, afterwards });
            continue;
          }
          if (failure !== null) throw failure;
          if (kept.length > 0) this.#keep(place);
          await afterwards();
        } catch (error) {
          this.#onFailure(place, error);
        }
      }
    }
  }

  #keep(place: string): void {
    if (this.#settling === 0 && this.#spares.length < sparesMax) this.#spares.push(place);
    else this.#enqueue({ place });
  }

  /** Resolves when everything put so far is gone, and what waited for another use too. */
  async settled(): Promise<void> {
    this.#settling += 1;
    try {
      for (const place of this.#spares.splice(0)) this.#enqueue({ place });
      if (this.#gathering !== undefined) this.#begin();
      while (this.#work !== null) await this.#work;
    } finally {
      this.#settling -= 1;
    }
  }
}
