import type { Event } from "@bulkhead/contracts";
import { expect, test, vi } from "vitest";
import { EventFeed } from "./event-feed.ts";
import { waitUntil } from "./wait-until.ts";

const event = (id: number, type: Event["type"] = "instance.state"): Event => ({
  id,
  type,
  project: "default",
  workloadId: null,
  instanceId: null,
  hostId: null,
  at: "2026-11-23T10:00:00Z",
  data: {},
  traceId: null,
});

const table = () => {
  const state = { events: [] as Event[], reads: 0, down: false, warnings: 0 };
  const feed = new EventFeed(
    {
      eventsAfter: async (cursor, limit) => {
        state.reads += 1;
        if (state.down) throw new Error("no database");
        return state.events.filter(({ id }) => id > cursor).slice(0, limit);
      },
      newestEvent: async () => state.events.at(-1)?.id ?? 0,
    },
    { warn: () => void (state.warnings += 1) },
  );
  return { state, feed };
};

test("everyone gets each event once and in order, from the number they were told", async () => {
  const { state, feed } = table();
  state.events.push(event(1), event(2));
  const [one, two]: [number[], number[]] = [[], []];
  const first = await feed.subscribe((events) => one.push(...events.map(({ id }) => id)));
  const second = await feed.subscribe((events) => two.push(...events.map(({ id }) => id)));
  expect([first.position, second.position]).toEqual([2, 2]);
  for (let id = 3; id <= 1_203; id += 1) state.events.push(event(id));
  feed.wake();
  await vi.waitUntil(() => one.length === 1_201 && two.length === 1_201);
  expect(one).toEqual(Array.from({ length: 1_201 }, (_, at) => at + 3));
  expect(two).toEqual(one);
  first.unsubscribe();
  second.unsubscribe();
});

test("nobody listens, nobody reads", async () => {
  const { state, feed } = table();
  const { unsubscribe } = await feed.subscribe(() => undefined);
  await vi.waitUntil(() => state.reads > 0);
  unsubscribe();
  const before = state.reads;
  feed.wake();
  feed.wake();
  await new Promise((resolve) => {
    setImmediate(resolve);
  });
  expect(state.reads).toBe(before);
  state.events.push(event(1));
  expect((await feed.subscribe(() => undefined)).position).toBe(1);
  feed.close();
});

test("a database that is away is waited for, and told once", async () => {
  const { state, feed } = table();
  const seen: number[] = [];
  await feed.subscribe((events) => seen.push(...events.map(({ id }) => id)));
  state.down = true;
  feed.wake();
  await vi.waitUntil(() => state.warnings === 1);
  feed.wake();
  state.events.push(event(1));
  state.down = false;
  feed.wake();
  await vi.waitUntil(() => seen.length === 1);
  expect(state.warnings).toBe(1);
  feed.close();
});

test("numbers that begin again end what listens", async () => {
  const { state, feed } = table();
  state.events.push(event(50));
  const ended = Promise.withResolvers<void>();
  await feed.subscribe(
    () => undefined,
    () => ended.resolve(),
  );
  state.events.splice(0);
  // The feed asks only after a while of silence; waking it makes the while short.
  const waking = setInterval(() => feed.wake(), 1);
  await ended.promise;
  clearInterval(waking);
  expect(state.reads).toBeGreaterThan(19);
  feed.close();
});

test("a wait ends with the event that brings it, the deadline, or the service", async () => {
  const { state, feed } = table();
  let value: string | undefined;
  const wait = (timeoutMs: number) =>
    waitUntil(feed, {
      read: async () => value,
      concerns: ({ type }) => type === "instance.state",
      timeoutMs,
      signal: new AbortController().signal,
      what: "It",
    });
  await expect(wait(5)).rejects.toMatchObject({ code: "WAIT_TIMEOUT" });
  const waiting = wait(60_000);
  await vi.waitUntil(() => state.reads > 0);
  value = "there";
  state.events.push(event(1));
  feed.wake();
  expect(await waiting).toBe("there");
  value = undefined;
  const stopped = wait(60_000);
  await vi.waitUntil(() => state.reads > 2);
  feed.close();
  await expect(stopped).rejects.toMatchObject({ code: "OVERLOADED" });
});
