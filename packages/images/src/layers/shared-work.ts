interface Work<T> {
  readonly result: Promise<T>;
  readonly stop: AbortController;
  waiting: number;
}

/**
 * Lets callers who want the same thing share one run of the work. A caller whose signal fires leaves at once while
 * others wait; the last one aborts the work and leaves when it has cleaned up.
 */
export class SharedWork<T> {
  readonly #running = new Map<string, Work<T>>();

  async run(key: string, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const shared = this.#running.get(key) ?? this.#start(key, work);
    shared.waiting += 1;
    const { promise: gaveUp, reject } = Promise.withResolvers<never>();
    const abort = () => {
      shared.waiting -= 1;
      if (shared.waiting > 0) {
        reject(signal.reason);
        return;
      }
      // A caller who comes now must not wait for work that is being undone.
      if (this.#running.get(key) === shared) this.#running.delete(key);
      shared.stop.abort(signal.reason);
      const leave = () => reject(signal.reason);
      shared.result.then(leave, leave);
    };
    signal.addEventListener("abort", abort, { once: true });
    try {
      const result = await Promise.race([shared.result, gaveUp]);
      signal.throwIfAborted();
      return result;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  #start(key: string, work: (signal: AbortSignal) => Promise<T>): Work<T> {
    const stop = new AbortController();
    const result = work(stop.signal).finally(() => {
      if (this.#running.get(key)?.stop === stop) this.#running.delete(key);
    });
    // All callers may have given up before it fails.
    result.catch(() => undefined);
    const shared = { result, stop, waiting: 0 };
    this.#running.set(key, shared);
    return shared;
  }
}
