import { SharedWork } from "../layers/shared-work.ts";

type Listener<P> = (progress: P) => void;

interface Audience<P> {
  readonly listeners: Set<Listener<P>>;
  latest: { readonly progress: P } | undefined;
}

/** Shared work whose callers all hear how far it is, late ones at once. */
export class SharedProgress<T, P> {
  readonly #work = new SharedWork<T>();
  readonly #audiences = new Map<string, Audience<P>>();

  async run(
    key: string,
    caller: { readonly signal: AbortSignal; readonly onProgress: Listener<P> },
    work: (signal: AbortSignal, report: Listener<P>) => Promise<T>,
  ): Promise<T> {
    const audience = this.#audiences.get(key) ?? { listeners: new Set(), latest: undefined };
    this.#audiences.set(key, audience);
    const listener: Listener<P> = (progress) => caller.onProgress(progress);
    audience.listeners.add(listener);
    if (audience.latest !== undefined) listener(audience.latest.progress);
    try {
      return await this.#work.run(key, caller.signal, (signal) =>
        work(signal, (progress) => {
          audience.latest = { progress };
          for (const heard of audience.listeners) heard(progress);
        }),
      );
    } finally {
      audience.listeners.delete(listener);
      if (audience.listeners.size === 0 && this.#audiences.get(key) === audience) this.#audiences.delete(key);
    }
  }
}
