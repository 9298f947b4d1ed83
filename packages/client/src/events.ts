import type { Event } from "@bulkhead/contracts";
import { errors, isFleetError } from "@bulkhead/contracts/errors";
import { setTimeout as delay } from "node:timers/promises";
import { parseEventStream } from "./sse.ts";
import type { Transport } from "./transport.ts";

export interface WatchEvents {
  /** resume after this event; absent: from now on, `0`: from the oldest kept */
  readonly since?: number;
  readonly types?: readonly string[];
  readonly workloadId?: string;
  readonly instanceId?: string;
  /** false: end with what has happened until now (default true) */
  readonly follow?: boolean;
  readonly signal: AbortSignal;
  /** told when the stream broke and is opened again */
  readonly onReconnect?: (error: unknown) => void;
}

/** Waits between attempts to reconnect, in milliseconds: soon at first, never a storm. */
const backoffMs = { first: 100, most: 5_000 };

const isFinal = (error: unknown): boolean => isFleetError(error) && !errors[error.code].retry;

/**
 * Events in commit order, none lost and none twice: a broken stream is opened again after the last event seen. Ends
 * when the signal aborts; throws what cannot heal (a bad token, CURSOR_EXPIRED).
 */
export async function* watchEvents(transport: Transport, watch: WatchEvents): AsyncGenerator<Event> {
  let last = watch.since === undefined ? undefined : String(watch.since);
  let waitMs = backoffMs.first;
  while (!watch.signal.aborted) {
    try {
      const answer = await transport.send({
        method: "GET",
        path: "/v1/events",
        query: {
          types: watch.types?.join(","),
          workloadId: watch.workloadId,
          instanceId: watch.instanceId,
          follow: watch.follow === false ? false : undefined,
        },
        headers: { accept: "text/event-stream", ...(last === undefined ? {} : { "last-event-id": last }) },
        signal: watch.signal,
      });
      if (answer.body === null) continue;
      for await (const message of parseEventStream(answer.body)) {
        last = message.id;
        waitMs = backoffMs.first;
        yield JSON.parse(message.data) as Event;
      }
      if (watch.follow === false) return;
    } catch (error) {
      if (watch.signal.aborted) return;
      if (isFinal(error)) throw error;
      watch.onReconnect?.(error);
    }
    await delay(waitMs, undefined, { signal: watch.signal }).catch(() => undefined);
    waitMs = Math.min(waitMs * 2, backoffMs.most);
  }
}
