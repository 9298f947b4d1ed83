import { type IncomingMessage, get } from "node:http";
import type { Event, Operation } from "@bulkhead/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { TestFleet, adminToken, workload } from "./testing/test-fleet.ts";

let fleet: TestFleet;
beforeAll(async () => {
  fleet = await TestFleet.start();
  await fleet.addHost("one");
  await fleet.addImage("app");
});
afterAll(() => fleet[Symbol.asyncDispose]());

const run = async (name: string): Promise<void> => {
  const { body } = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload(name) });
  const { body: ended } = await fleet.call<Operation>("GET", `/v1/operations/${body.id}/wait`);
  expect(ended.state).toBe("succeeded");
};

/** Opens the stream; `until` reads events until one fits and hangs up. */
const watch = async (query: string, headers: Record<string, string> = {}) => {
  const abort = new AbortController();
  const answer = await fetch(`${fleet.url}/v1/events${query}`, {
    headers: { authorization: `Bearer ${adminToken}`, ...headers },
    signal: abort.signal,
  });
  return {
    status: answer.status,
    type: answer.headers.get("content-type"),
    problem: () => answer.json() as Promise<{ code: string }>,
    until: async (fits: (event: Event) => boolean): Promise<Event[]> => {
      const seen: Event[] = [];
      let text = "";
      const decoder = new TextDecoder();
      try {
        for await (const chunk of answer.body ?? []) {
          text += decoder.decode(chunk as Uint8Array, { stream: true });
          const blocks = text.split("\n\n");
          text = blocks.pop() ?? "";
          for (const block of blocks) {
            const data = /^data: (?<json>.+)$/m.exec(block)?.groups?.["json"];
            if (data === undefined) continue;
            const event = JSON.parse(data) as Event;
            expect(block).toContain(`id: ${event.id}\n`);
            seen.push(event);
            if (fits(event)) return seen;
          }
        }
      } finally {
        abort.abort();
      }
      throw new Error(`the stream ended after ${seen.length} events`);
    },
  };
};

const finished = (event: Event): boolean => event.type === "operation.finished";

test("live events come in order with rising numbers", async () => {
  const stream = await watch("");
  expect([stream.status, stream.type]).toEqual([200, "text/event-stream; charset=utf-8"]);
  const reading = stream.until(finished);
  await run("live");
  const events = await reading;
  const types = events.map(({ type }) => type);
  expect(types.indexOf("workload.created")).toBeLessThan(types.indexOf("instance.placed"));
  expect(types).toEqual(expect.arrayContaining(["instance.created", "instance.placed", "instance.state"]));
  const ids = events.map(({ id }) => id);
  expect(ids).toEqual([...ids].sort((a, b) => a - b));
  expect(new Set(ids).size).toBe(ids.length);
});

test("a watcher that resumes gets exactly what it missed", async () => {
  await run("first");
  const all = await (
    await watch("?since=0")
  ).until((event) => finished(event) && event.data["kind"] === "workload.create");
  const middle = all[Math.floor(all.length / 2)]?.id ?? 0;
  await run("second");
  const whole = await fleet.query<{ id: string }>("SELECT id FROM event ORDER BY id");
  const newest = Number(whole.at(-1)?.id);
  for (const stream of [await watch("", { "last-event-id": String(middle) }), await watch(`?since=${middle}`)]) {
    const resumed = await stream.until(({ id }) => id === newest);
    expect(resumed.map(({ id }) => id)).toEqual(whole.map(({ id }) => Number(id)).filter((id) => id > middle));
  }
});

test("nothing is lost or repeated between what was and what comes", async () => {
  const [start] = await fleet.query<{ id: string }>("SELECT max(id) AS id FROM event");
  const since = Number(start?.id);
  const names = Array.from({ length: 6 }, (_, at) => `between-${at}`);
  const made = Promise.all(names.map(run));
  const streams = await Promise.all(Array.from({ length: 5 }, () => watch(`?since=${since}&types=operation.finished`)));
  const read = await Promise.all(
    streams.map((stream) => {
      let count = 0;
      return stream.until(() => (count += 1) === names.length);
    }),
  );
  await made;
  for (const events of read) expect(events.map(({ id }) => id)).toEqual(read[0]?.map(({ id }) => id));
});

test("filters apply to what was and to what comes", async () => {
  const [row] = await fleet.query<{ id: string }>("SELECT id FROM instance WHERE name = 'first-0'");
  const past = await (
    await watch(`?since=0&instanceId=${row?.id}&types=instance.state`)
  ).until((event) => event.data["state"] === "running");
  expect(past.every((event) => event.instanceId === row?.id && event.type === "instance.state")).toBe(true);
  const live = (await watch("?types=workload.created")).until(() => true);
  await run("filtered");
  expect((await live).map(({ type }) => type)).toEqual(["workload.created"]);
});

test("a project sees its own events only, an administrator those of the fleet too", async () => {
  const { body: viewer } = await fleet.call<{ secret: string }>("POST", "/v1/tokens", {
    body: { name: "v", role: "viewer", project: "elsewhere" },
  });
  await fleet.addImage("app", "elsewhere");
  const stream = await watch("?since=0", { authorization: `Bearer ${viewer.secret}` });
  const events = await stream.until((event) => event.type === "image.imported");
  expect(events.map(({ project }) => project)).toEqual(["elsewhere"]);
  const all = await (await watch("?since=0")).until((event) => event.type === "host.joined");
  expect(all.at(-1)?.project).toBeNull();
});

test("a cursor that is too old, or of another time, is 410", async () => {
  const future = await watch("?since=999999");
  expect([future.status, (await future.problem()).code]).toEqual([410, "CURSOR_EXPIRED"]);
  const [oldest] = await fleet.query<{ id: string }>("SELECT min(id) AS id FROM event");
  await fleet.query("DELETE FROM event WHERE id < $1::bigint + 5", [oldest?.id]);
  const old = await watch(`?since=${oldest?.id}`);
  expect([old.status, (await old.problem()).code]).toEqual([410, "CURSOR_EXPIRED"]);
  const kept = await (await watch("?since=0")).until(() => true);
  expect(kept).toHaveLength(1);
});

test("what is no type, no cursor, no id is refused", async () => {
  for (const [query, headers] of [
    ["?types=workload.flown", {}],
    ["?since=-1", {}],
    ["?instanceId=x", {}],
    ["", { "last-event-id": "abc" }],
  ] as const) {
    expect((await watch(query, headers)).status).toBe(400);
  }
});

test("a reader that does not read is disconnected", async () => {
  const request = get(`${fleet.url}/v1/events`, { headers: { authorization: `Bearer ${adminToken}` } });
  const answer = await new Promise<IncomingMessage>((resolve) => {
    request.once("response", resolve);
  });
  answer.pause();
  const gone = new Promise<void>((resolve) => {
    fleet.scheduler.app.server.getConnections(() => undefined);
    answer.socket.once("close", () => resolve());
  });
  const big = JSON.stringify({ text: "x".repeat(100_000) });
  for (let at = 0; at < 100; at += 1) {
    await fleet.query("INSERT INTO event_inbox (type, project, data) VALUES ('workload.updated', 'default', $1)", [
      big,
    ]);
  }
  fleet.control.wake();
  // The kernel holds some megabytes for a reader; what is beyond is dropped with the connection.
  answer.once("error", () => undefined);
  await expect
    .poll(async () => {
      const [row] = await fleet.query<{ n: number }>("SELECT count(*)::int AS n FROM event_inbox");
      return row?.n;
    })
    .toBe(0);
  answer.resume();
  await gone;
});
