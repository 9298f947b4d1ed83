/** A request that waits, and how it is told. Whoever serves it rejects it, or leaves it to be resolved. */
export interface Waiting<Request> {
  readonly request: Request;
  readonly reject: (error: unknown) => void;
}

interface Entry<Request> extends Waiting<Request> {
  readonly resolve: () => void;
}

/** Serves what has come; what it rejects with, every one of these requests does. */
type Serve<Request> = (requests: readonly Waiting<Request>[]) => Promise<void>;

/** Requests that come while others are served wait, and are then served together. */
export class Group<Request> {
  readonly #serve: Serve<Request>;
  #waiting: Entry<Request>[] = [];
  #serving = false;

  constructor(serve: Serve<Request>) {
    this.#serve = serve;
  }

  ask(request: Request): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ request, resolve, reject });
    if (!this.#serving) {
      this.#serving = true;
      // Not at once: whoever asks in the same turn is served with the first.
      queueMicrotask(() => void this.#run());
    }
    return promise;
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      const taken = this.#waiting.splice(0);
      try {
        await this.#serve(taken);
        for (const { resolve } of taken) resolve();
      } catch (error) {
        for (const { reject } of taken) reject(error);
      }
    }
    this.#serving = false;
  }
}
