import { subjects, type SharesApplied } from "@bulkhead/contracts";
import { startNats, type TestNats } from "@bulkhead/testkit/servers";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Bus } from "./bus.ts";
import { connectBus } from "./connect.ts";
import { maxPayloadBytes } from "./nats-config.ts";
import { hostA, memoryLog, reports } from "./testing/messages.ts";

const own = { hostId: hostA, isolation: "container" };
const apply = { instanceId: reports(1).reports[0]!.instanceId };
const applied = (bytes: number): SharesApplied => ({
  running: true,
  outcomes: [{ shareId: hostA, state: "failed", busy: false, detail: "x".repeat(bytes) }],
});

let nats: TestNats;
let scheduler: Bus;
let agent: Bus;
const log = memoryLog();
beforeAll(async () => {
  nats = await startNats();
  scheduler = await connectBus({ ...(await nats.service("scheduler")), log });
  agent = await connectBus({ ...(await nats.host(hostA)), log });
});
afterAll(async () => {
  await agent.drain();
  await scheduler.drain();
  await nats[Symbol.asyncDispose]();
});

const answerOf = async (bytes: number): Promise<unknown> => {
  const subscription = agent.respond(subjects.applyShares, own, async () => applied(bytes));
  await agent.ping();
  try {
    return await scheduler.request(subjects.applyShares, own, apply).catch((error: unknown) => error);
  } finally {
    subscription.unsubscribe();
  }
};

test("a reply that is too large is a typed error of the asker at once, and a line in the log", async () => {
  const began = performance.now();
  expect(await answerOf(maxPayloadBytes)).toMatchObject({
    code: "ANSWER_TOO_LARGE",
    message: expect.stringContaining(String(maxPayloadBytes)) as string,
  });
  expect(performance.now() - began).toBeLessThan(subjects.applyShares.timeoutMs / 2);
  expect(log.messages()).toContain("reply too large");
});

test("a large reply that fits arrives", async () => {
  expect(await answerOf(maxPayloadBytes - 64 * 1024)).toMatchObject({ running: true });
});

test("an error with a very long text arrives, cut", async () => {
  const subscription = agent.respond(subjects.applyShares, own, async () => {
    throw Object.assign(new Error("x".repeat(2 * maxPayloadBytes)), { name: "FleetError", code: "STATE_CONFLICT" });
  });
  await agent.ping();
  await expect(scheduler.request(subjects.applyShares, own, apply)).rejects.toMatchObject({ code: "STATE_CONFLICT" });
  subscription.unsubscribe();
});

test("a request or a message that is too large is refused before it is sent, and not taken for a lost connection", async () => {
  const open = { streamId: hostA, url: "ws://a", token: "t", ...apply, command: ["a"], tty: false };
  await expect(
    scheduler.request(subjects.openExec, own, { ...open, env: { A: "x".repeat(maxPayloadBytes) } }),
  ).rejects.toMatchObject({ code: "BODY_TOO_LARGE" });
  const [first] = reports(1).reports;
  const huge = {
    ...reports(1),
    reports: [
      { ...first!, resize: { generation: 1, outcome: "deferred" as const, detail: "x".repeat(maxPayloadBytes) } },
    ],
  };
  expect(() => agent.publish(subjects.report, own, huge)).toThrow(expect.objectContaining({ code: "BODY_TOO_LARGE" }));
});
