import type { ServerResponse } from "node:http";
import type { Event } from "@bulkhead/contracts";
import { type ApiReads, type EventFilter, eventMatches } from "@bulkhead/inventory";
import type { EventFeed } from "./event-feed.ts";

/** A comment this often tells proxies and clients that the connection lives, in milliseconds. */
const heartbeatMs = 15_000;
/** A reader this far behind is disconnected, in bytes; it resumes from its last event. */
const maximumBehindBytes = 1024 * 1024;
/** Past events read at a time. */
const pageSize = 500;

const frame = (event: Event): string => `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;

export interface StreamOptions {
  readonly feed: EventFeed;
  readonly read: Pick<ApiReads, "matchingEvents">;
  readonly filter: EventFilter;
  /** number after which to start; from now on when undefined */
  readonly since: number | undefined;
  /** false: end with what has happened until now */
  readonly follow: boolean;
  readonly response: ServerResponse;
}

const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const done = () => {
      response.off("drain", done);
      response.off("close", done);
      resolve();
    };
    response.once("drain", done);
    response.once("close", done);
  });

/** Writes past events to the response until `upTo`, as fast as the reader takes them. Resolves to the last number. */
const replay = async (options: StreamOptions, since: number, upTo: number): Promise<void> => {
  const { read, filter, response } = options;
  let after = since;
  while (!response.destroyed) {
    const events = await read.matchingEvents({ after, upTo, limit: pageSize }, filter);
    for (const event of events) response.write(frame(event));
    if (response.writableNeedDrain) await drained(response);
    const last = events.at(-1);
    if (last === undefined || events.length < pageSize) return;
    after = last.id;
  }
};

/**
 * Sends server-sent events until the client or the service goes: first what lies between `since` and now, then what
 * happens, nothing twice and nothing left out. The response's head is written already. Rejects DATABASE_UNAVAILABLE.
 */
export const streamEvents = async (options: StreamOptions): Promise<void> => {
  const { feed, filter, response } = options;
  let live = false;
  const held: Event[] = [];
  const send = (event: Event): void => {
    if (response.destroyed) return;
    response.write(frame(event));
    // A client that does not read must not fill our memory; it comes back and resumes.
    if (response.writableLength > maximumBehindBytes) response.destroy();
  };
  const subscription = await feed.subscribe(
    (events) => {
      for (const event of events) {
        if (!eventMatches(event, filter)) continue;
        if (live) send(event);
        else held.push(event);
      }
      if (held.length > 100 * pageSize) response.destroy();
    },
    () => response.destroy(),
  );
  const heartbeat = setInterval(() => {
    if (!response.destroyed) response.write(": alive\n\n");
  }, heartbeatMs);
  const closed = new Promise<void>((resolve) => {
    response.once("close", resolve);
  });
  try {
    if (options.since !== undefined) await replay(options, options.since, subscription.position);
    for (const event of held.splice(0)) send(event);
    live = true;
    if (response.destroyed) return;
    if (!options.follow) response.end();
    await closed;
  } finally {
    clearInterval(heartbeat);
    subscription.unsubscribe();
  }
};
