import { type Event, fleetError } from "@bulkhead/contracts";
import type { EventFeed } from "./event-feed.ts";

/** The state is read again at least this often, in milliseconds, in case an event was folded elsewhere and late. */
const rereadMs = 1_000;

export interface Wait<T> {
  /** the awaited value, undefined while it is not reached; what it rejects ends the wait */
  readonly read: () => Promise<T | undefined>;
  /** events after which reading again makes sense */
  readonly concerns: (event: Event) => boolean;
  readonly timeoutMs: number;
  /** ends the wait when nobody is interested any more */
  readonly signal: AbortSignal;
  /** for WAIT_TIMEOUT: what was waited for */
  readonly what: string;
}

/** Resolves to the value as soon as it is there. Rejects WAIT_TIMEOUT after `timeoutMs`, OVERLOADED at shutdown. */
export const waitUntil = async <T>(feed: EventFeed, wait: Wait<T>): Promise<T> => {
  const deadline = performance.now() + wait.timeoutMs;
  let changed = false;
  let notice: (() => void) | undefined;
  const noticed = () => {
    changed = true;
    notice?.();
  };
  // Subscribed before the first look: what happens in between is noticed.
  const { unsubscribe } = await feed.subscribe((events) => {
    if (events.some(wait.concerns)) noticed();
  }, noticed);
  wait.signal.addEventListener("abort", noticed);
  try {
    for (;;) {
      changed = false;
      const value = await wait.read();
      if (value !== undefined) return value;
      if (feed.closed) throw fleetError("OVERLOADED", "The service is stopping.", { fields: { retryAfterMs: 1_000 } });
      const leftMs = deadline - performance.now();
      if (leftMs <= 0 || wait.signal.aborted) {
        throw fleetError("WAIT_TIMEOUT", `${wait.what} was not reached within ${wait.timeoutMs} ms.`);
      }
      if (changed) continue;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(leftMs, rereadMs));
        notice = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      notice = undefined;
    }
  } finally {
    wait.signal.removeEventListener("abort", noticed);
    unsubscribe();
  }
};
