import type { Clock, Timer } from "./clock.ts";
import { textOf } from "./log.ts";

/** How long a write that failed (a full disk, mostly) waits for its next try, in milliseconds. */
const retryMs = 1_000;

/**
 * Runs one `flush` at a time. Requests that come during a run share the next one, which is the group commit of everything
 * this package writes. A failed run is repeated until it succeeds; meanwhile `problem` says why.
 */
export class Flusher {
  readonly #flush: () => Promise<void>;
  readonly #clock: Clock;
  #running: Promise<void> | null = null;
  #next: PromiseWithResolvers<void> | null = null;
  #retry: Timer | null = null;
  #closed = false;
  #problem: string | null = null;

  constructor(flush: () => Promise<void>, clock: Clock) {
    this.#flush = flush;
    this.#clock = clock;
  }

  /** What keeps the newest state from the disk, or null. */
  get problem(): string | null {
    return this.#problem;
  }

  /** The flush that runs now, or null. */
  get running(): Promise<void> | null {
    return this.#running;
  }

  /** Resolves when a flush that began after this call is done; rejects when that one failed, which is then repeated. */
  request(): Promise<void> {
    if (this.#next !== null) return this.#next.promise;
    if (this.#running === null) return this.#run();
    this.#next = Promise.withResolvers();
    return this.#next.promise;
  }

  /** As `request`, for callers who need no answer. */
  touch(): void {
    this.request().catch(() => undefined);
  }

  /** Waits for a last try and starts no other. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#retry?.cancel();
    await this.request().catch(() => undefined);
  }

  async #run(): Promise<void> {
    const run = this.#flush();
    this.#running = run;
    try {
      await run;
      this.#problem = null;
    } catch (error) {
      this.#problem = textOf(error);
      if (!this.#closed && this.#retry === null) {
        this.#retry = this.#clock.after(retryMs, () => {
          this.#retry = null;
          this.touch();
        });
      }
      throw error;
    } finally {
      this.#running = null;
      const next = this.#next;
      this.#next = null;
      if (next !== null) this.#run().then(next.resolve, next.reject);
    }
  }
}
