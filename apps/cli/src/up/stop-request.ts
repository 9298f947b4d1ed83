import { constants } from "node:os";

/** npm passes Ctrl-C on to its child, which the terminal has told already: two signals this close are one, in ms. */
const echoMs = 750;

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * The user's wish to stop: the first signal resolves `requested`, another one a moment later ends the process at once
 * (the kernel then kills the services, and instances run on).
 */
export class StopRequest implements Disposable {
  readonly #wish = Promise.withResolvers<undefined>();
  readonly #handlers = new Map<NodeJS.Signals, () => void>();
  #at: number | undefined;

  constructor() {
    for (const signal of signals) {
      const handler = (): void => this.#receive(signal);
      this.#handlers.set(signal, handler);
      process.on(signal, handler);
    }
  }

  get requested(): Promise<undefined> {
    return this.#wish.promise;
  }

  get isRequested(): boolean {
    return this.#at !== undefined;
  }

  #receive(signal: NodeJS.Signals): void {
    if (this.#at !== undefined && performance.now() - this.#at > echoMs) process.exit(128 + constants.signals[signal]);
    this.#at ??= performance.now();
    this.#wish.resolve(undefined);
  }

  [Symbol.dispose](): void {
    for (const [signal, handler] of this.#handlers) process.off(signal, handler);
  }
}
