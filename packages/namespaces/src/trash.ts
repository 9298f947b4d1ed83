import { randomUUID } from "node:crypto";
import { mkdirSync, readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { removeTrees } from "@bulkhead/native-namespaces";

const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && "code" in error && error.code === code;

interface Waiting {
  readonly place: string;
  readonly afterwards: () => void | Promise<void>;
}

/** How long directories wait for more before they are removed, in milliseconds: each batch is a thread. */
const gatherMs = 20;

/** Removes directories later, all that wait in one go, so that nobody waits for a large tree; survives a crash. */
export class Trash {
  readonly #directory: string;
  readonly #onFailure: (path: string, error: unknown) => void;
  #waiting: Waiting[] = [];
  #work: Promise<void> | null = null;
  #gathering: NodeJS.Timeout | undefined;

  constructor(directory: string, onFailure: (path: string, error: unknown) => void) {
    this.#directory = directory;
    this.#onFailure = onFailure;
  }

  /** Takes up again what an earlier agent had not finished. */
  sweep(): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(this.#directory)) this.#enqueue(join(this.#directory, name), () => undefined);
  }

  /**
   * Moves `path` away at once and removes it later; then calls `afterwards`. A path that is not there is fine. Throws
   * when it cannot be moved.
   */
  put(path: string, afterwards: Waiting["afterwards"] = () => undefined): void {
    const place = join(this.#directory, randomUUID());
    try {
      // Within one file system and without the thread pool: a rename takes some 10 µs.
      renameSync(path, place);
    } catch (error) {
      if (!isCode(error, "ENOENT")) throw error;
    }
    this.#enqueue(place, afterwards);
  }

  #enqueue(place: string, afterwards: Waiting["afterwards"]): void {
    this.#waiting.push({ place, afterwards });
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
      const failures = await removeTrees(batch.map(({ place }) => place));
      for (const [index, { place, afterwards }] of batch.entries()) {
        try {
          const failure = failures[index];
          if (failure !== undefined && failure !== null) throw failure;
          await afterwards();
        } catch (error) {
          this.#onFailure(place, error);
        }
      }
    }
  }

  /** Resolves when everything put so far is gone. */
  async settled(): Promise<void> {
    if (this.#gathering !== undefined) this.#begin();
    while (this.#work !== null) await this.#work;
  }
}
