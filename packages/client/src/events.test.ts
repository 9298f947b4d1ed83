import { once } from "node:events";
import { expect, test } from "vitest";
import { serve } from "./api.fixture.ts";
import { createClient } from "./client.ts";

const frame = (id: number): string => `id: ${id}\nevent: instance.state\ndata: ${JSON.stringify({ id })}\n\n`;

test("a broken stream goes on after the last event, none lost and none twice", async () => {
  const asked: (string | undefined)[] = [];
  await using api = await serve((request, response) => {
    const last = request.headers["last-event-id"];
    asked.push(Array.isArray(last) ? last[0] : last);
    response.writeHead(200, { "content-type": "text/event-stream" });
    const from = Number(asked.at(-1) ?? 0);
    response.write(frame(from + 1));
    response.write(frame(from + 2), () => response.destroy());
  });
  const stop = new AbortController();
  const seen: number[] = [];
  const breaks: unknown[] = [];
  const client = createClient({ url: api.url, token: "t" });
  for await (const event of client.events({
    since: 0,
    signal: stop.signal,
    onReconnect: (error) => breaks.push(error),
  })) {
    seen.push(event.id);
    if (event.id === 6) stop.abort();
  }
  expect(seen).toEqual([1, 2, 3, 4, 5, 6]);
  expect(asked).toEqual(["0", "2", "4"]);
  expect(breaks.length).toBeGreaterThanOrEqual(2);
});

test("an expired cursor is told and not tried again", async () => {
  let requests = 0;
  await using api = await serve((_request, response) => {
    requests += 1;
    response.writeHead(410).end(JSON.stringify({ code: "CURSOR_EXPIRED", detail: "too old" }));
  });
  const events = createClient({ url: api.url, token: "t" }).events({ since: 1, signal: new AbortController().signal });
  await expect(events.next()).rejects.toMatchObject({ code: "CURSOR_EXPIRED" });
  expect(requests).toBe(1);
});

test("without follow it ends with what there is", async () => {
  let url: string | undefined;
  await using api = await serve((request, response) => {
    ({ url } = request);
    response.end(frame(1));
  });
  const stop = new AbortController();
  const events = createClient({ url: api.url, token: "t" }).events({ since: 0, follow: false, signal: stop.signal });
  expect(await Array.fromAsync(events)).toEqual([{ id: 1 }]);
  expect(url).toBe("/v1/events?follow=false");
});

test("an abort ends it while nothing happens", async () => {
  await using api = await serve((_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" }).write(": alive\n\n");
  });
  const stop = new AbortController();
  const events = createClient({ url: api.url, token: "t" }).events({ signal: stop.signal });
  const next = events.next();
  await once(api.server, "request");
  stop.abort();
  expect(await next).toEqual({ value: undefined, done: true });
});
