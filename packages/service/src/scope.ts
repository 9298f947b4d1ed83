import type { Logger } from "./log.ts";
import type { Readiness } from "./readiness.ts";

interface Held {
  readonly name: string;
  readonly release: () => unknown;
}

/** Releases what a service holds in reverse order of start; one failing release does not stop the others. */
export class Scope {
  readonly log: Logger;
  readonly readiness: Readiness;
  /** Aborted when shutdown begins. */
  readonly signal: AbortSignal;
  readonly #fail: (error: unknown) => void;
  readonly #held: Held[] = [];
  #releasing = "";

  constructor(parts: { log: Logger; readiness: Readiness; signal: AbortSignal; fail: (error: unknown) => void }) {
    this.log = parts.log;
    this.readiness = parts.readiness;
    this.signal = parts.signal;
    this.#fail = parts.fail;
  }

  /** Ties a resource's life to the service's and returns it. */
  use<Resource extends AsyncDisposable | Disposable>(name: string, resource: Resource): Resource {
    this.defer(name, () =>
      Symbol.asyncDispose in resource ? resource[Symbol.asyncDispose]() : resource[Symbol.dispose](),
    );
    return resource;
  }

  /** Runs `release` at shutdown, before everything deferred earlier. */
  defer(name: string, release: () => unknown): void {
    this.#held.push({ name, release });
  }

  /** Ends the service with exit code 1 because of an error nobody awaits. */
  fail(error: unknown): void {
    this.#fail(error);
  }

  /** Name of the resource whose release is under way, for the message about a missed deadline. */
  get releasing(): string {
    return this.#releasing;
  }

  /** Resolves false when a release failed. */
  async release(): Promise<boolean> {
    let clean = true;
    for (let held = this.#held.pop(); held !== undefined; held = this.#held.pop()) {
      this.#releasing = held.name;
      try {
        await held.release();
      } catch (err) {
        clean = false;
        this.log.error({ err, resource: held.name }, "resource not released");
      }
    }
    this.#releasing = "";
    return clean;
  }
}
