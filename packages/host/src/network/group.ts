/** A request that waits, and how it is told. Whoever serves it rejects it, or leaves it to be resolved. */
export interface Waiting<Request> {
  readonly request: Request;
  readonly reject: (error: unknown) => void;
}

interface Entry<Request> extends Waiting<Request> {
  readonly resolve: () => void;
}

interface Service<Request> {
  /** waits until `work` may be done, and does it */
  turn(work: () => Promise<void>): Promise<void>;
  serve(requests: readonly Waiting<Request>[]): Promise<void>;
}

/** Requests that come while others are served wait, and are then served together in one turn; if it fails, so do all. */
export class Group<Request> {
  readonly #service: Service<Request>;
  #waiting: Entry<Request>[] = [];

  constructor(service: Service<Request>) {
    this.#service = service;
  }

  ask(request: Request): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiting.push({ request, resolve, reject });
    if (this.#waiting.length === 1) void this.#run();
    return promise;
  }

  async #run(): Promise<void> {
    let taken: Entry<Request>[] | undefined;
    const take = (): Entry<Request>[] => (taken ??= this.#waiting.splice(0));
    try {
      await this.#service.turn(() => this.#service.serve(take()));
      for (const { resolve } of take()) resolve();
    } catch (error) {
      for (const { reject } of take()) reject(error);
    }
  }
}
