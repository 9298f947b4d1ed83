import type { Event } from "@bulkhead/contracts";

/** What the feed reads: the table of public events. */
export interface EventSource {
  /** in order of their numbers */
  eventsAfter(cursor: number, limit: number): Promise<Event[]>;
  newestEvent(): Promise<number>;
}

export interface FeedLog {
  warn(fields: object, message: string): void;
}

/** Events read at a time. */
const pageSize = 500;
/** Another scheduler may be the one that writes events: they are looked for this often, in milliseconds. */
const pollMs = 500;
/** A feed that has seen nothing this many times asks whether the numbers have started again (a restored database). */
const pollsUntilCheck = 20;

type Listener = (events: readonly Event[]) => void;

/**
 * New events for everyone in this process who waits for some: one reader of the table however many they are, and none
 * while nobody does. Listeners get each event once, in order.
 */
export class EventFeed {
  readonly #source: EventSource;
  readonly #log: FeedLog;
  readonly #listeners = new Map<Listener, (() => void) | undefined>();
  #position: Promise<number> | undefined;
  #running = false;
  #wake: (() => void) | undefined;
  #woken = false;
  #closed = false;

  constructor(source: EventSource, log: FeedLog) {
    this.#source = source;
    this.#log = log;
  }

  /** Watchers and waits that listen now. */
  get size(): number {
    return this.#listeners.size;
  }

  /** True when the service stops. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Looks at once: this process has just written events. */
  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /**
   * Calls `listener` with every event after the number this resolves to. `onEnd` is told when nothing will
   * come any more: numbers started again (a restored database), so positions mean nothing, or the service stops. Rejects DATABASE_UNAVAILABLE.
   */
  async subscribe(listener: Listener, onEnd?: () => void): Promise<{ position: number; unsubscribe: () => void }> {
    this.#listeners.set(listener, onEnd);
    const unsubscribe = () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size === 0) this.#wake?.();
    };
    try {
      this.#position ??= this.#source.newestEvent();
      const position = await this.#position;
      if (!this.#running) void this.#loop(position);
      return { position, unsubscribe };
    } catch (error) {
      this.#position = undefined;
      unsubscribe();
      throw error;
    }
  }

  /** The service stops: everyone who listens is told that this ends, and nothing is read any more. */
  close(): void {
    this.#closed = true;
    const told = [...this.#listeners.values()];
    this.#listeners.clear();
    this.#wake?.();
    for (const onEnd of told) onEnd?.();
  }

  async #loop(start: number): Promise<void> {
    this.#running = true;
    let position = start;
    let idlePolls = 0;
    let failing = false;
    while (this.#listeners.size > 0) {
      this.#woken = false;
      try {
        const events = await this.#source.eventsAfter(position, pageSize);
        failing = false;
        const last = events.at(-1);
        if (last !== undefined) {
          position = last.id;
          this.#position = Promise.resolve(position);
          for (const listener of this.#listeners.keys()) listener(events);
        }
        idlePolls = last === undefined ? idlePolls + 1 : 0;
        if (idlePolls >= pollsUntilCheck) {
          idlePolls = 0;
          position = await this.#checkReset(position);
        }
        if (events.length === pageSize) continue;
      } catch (err) {
        if (!failing) this.#log.warn({ err }, "events cannot be read; trying again");
        failing = true;
      }
      await this.#pause();
    }
    this.#running = false;
    this.#position = undefined;
  }

  async #checkReset(position: number): Promise<number> {
    const newest = await this.#source.newestEvent();
    if (newest >= position) return position;
    this.#position = Promise.resolve(newest);
    for (const onEnd of this.#listeners.values()) onEnd?.();
    return newest;
  }

  #pause(): Promise<void> {
    if (this.#woken) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(done, pollMs);
      this.#wake = done;
    });
  }
}
