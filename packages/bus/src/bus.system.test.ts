import { context, propagation, trace, type TextMapPropagator } from "@opentelemetry/api";
import { fleetError, subjects } from "@bulkhead/contracts";
import { startNats, type TestNats } from "@bulkhead/testkit/servers";
import { connect } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import type { Bus } from "./bus.ts";
import { connectBus } from "./connect.ts";
import { hostA, hostB, memoryLog, reports } from "./testing/messages.ts";

const own = { hostId: hostA, isolation: "container" };
const everyone = { hostId: "*", isolation: "*" };
const signal = { instanceId: reports(1).reports[0]!.instanceId, signal: 15 };
const deadline = { timeout: 10_000, interval: 10 };

describe("two connections to one server", () => {
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

  test("know the server's version", () => {
    expect(agent.serverVersion).toMatch(/^2\.[0-9]+\.[0-9]+/);
  });

  test("a message arrives with the parameters of its subject", async () => {
    const arrived = Promise.withResolvers<unknown>();
    const subscription = scheduler.subscribe(subjects.report, everyone, (body, about) => {
      arrived.resolve([body.reports[0]?.seq, about.parameters]);
    });
    await scheduler.ping();
    expect(agent.publish(subjects.report, own, reports(5))).toBe(true);
    expect(await arrived.promise).toEqual([5, own]);
    subscription.unsubscribe();
  });

  test("what does not fit is refused, counted and logged, and the next one arrives", async () => {
    const seen: number[] = [];
    const subscription = scheduler.subscribe(subjects.report, everyone, (body) => {
      seen.push(body.reports[0]?.seq ?? 0);
    });
    await scheduler.ping();
    const before = scheduler.counters.refused;
    const raw = await connect({ servers: nats.url });
    const name = `bulkhead.v1.${hostA}.container.report`;
    raw.publish(name, "{");
    raw.publish(name, JSON.stringify({ ...reports(1), extra: true }));
    raw.publish(name, JSON.stringify(reports(1, hostB)));
    raw.publish(name, JSON.stringify(reports(9)));
    await raw.drain();
    await vi.waitFor(() => expect(seen).toEqual([9]), deadline);
    expect(scheduler.counters.refused - before).toBe(3);
    expect(log.messages()).toContain("message refused");
    subscription.unsubscribe();
  });

  test("a handler that throws or rejects takes nothing down", async () => {
    let calls = 0;
    const before = scheduler.counters.handlerFailures;
    const subscriptions = [
      scheduler.subscribe(subjects.report, everyone, () => {
        calls += 1;
        throw new Error("synchronous");
      }),
      scheduler.subscribe(subjects.report, everyone, async () => {
        calls += 1;
        throw new Error("asynchronous");
      }),
    ];
    await scheduler.ping();
    agent.publish(subjects.report, own, reports(1));
    agent.publish(subjects.report, own, reports(2));
    await vi.waitFor(() => expect(calls).toBe(4), deadline);
    await vi.waitFor(() => expect(scheduler.counters.handlerFailures - before).toBe(4), deadline);
    for (const subscription of subscriptions) subscription.unsubscribe();
  });

  test("our own message that does not fit is not sent", () => {
    expect(() => agent.publish(subjects.report, own, { ...reports(1), reports: [] })).toThrow("/reports");
    expect(() => agent.publish(subjects.report, { hostId: "a.b", isolation: "vm" }, reports(1))).toThrow(RangeError);
  });

  describe("requests", () => {
    const answer = (handler: () => Promise<Record<string, never>>) => agent.respond(subjects.signal, own, handler);

    test("get their reply", async () => {
      const asked = Promise.withResolvers<number>();
      const subscription = agent.respond(subjects.signal, own, async (body, about) => {
        asked.resolve(body.signal);
        expect(about.signal.aborted).toBe(false);
        return {};
      });
      await agent.ping();
      expect(await scheduler.request(subjects.signal, own, signal)).toEqual({});
      expect(await asked.promise).toBe(15);
      subscription.unsubscribe();
    });

    test("get the handler's error with its code", async () => {
      const subscription = answer(async () => {
        throw fleetError("STATE_CONFLICT", "The instance has ended.");
      });
      await agent.ping();
      await expect(scheduler.request(subjects.signal, own, signal)).rejects.toMatchObject({
        code: "STATE_CONFLICT",
        message: "The instance has ended.",
      });
      subscription.unsubscribe();
    });

    test("learn nothing of an unexpected error, nor of a reply that does not fit", async () => {
      for (const handler of [
        async () => {
          throw new Error("hunter2");
        },
        async () => ({ secret: "hunter2" }),
      ]) {
        const subscription = answer(handler as never);
        await agent.ping();
        const failure: unknown = await scheduler.request(subjects.signal, own, signal).catch((error: unknown) => error);
        expect(failure).toMatchObject({ code: "INTERNAL" });
        expect((failure as Error).message).not.toContain("hunter2");
        subscription.unsubscribe();
      }
    });

    test("that do not fit are answered, not dropped", async () => {
      const subscription = answer(async () => ({}));
      await agent.ping();
      const raw = await connect({ servers: nats.url });
      const reply = await raw.request(`bulkhead.v1.${hostA}.container.signal`, '{"signal":0}', { timeout: 5_000 });
      expect([reply.headers?.get("Bulkhead-Error"), reply.json()]).toEqual([
        "REQUEST_INVALID",
        { code: "REQUEST_INVALID", detail: expect.stringContaining("The message") as string },
      ]);
      await raw.close();
      subscription.unsubscribe();
    });

    test("to an agent that is not there fail at once: HOST_UNREACHABLE", async () => {
      const began = performance.now();
      await expect(
        scheduler.request(subjects.signal, { hostId: hostB, isolation: "vm" }, signal),
      ).rejects.toMatchObject({ code: "HOST_UNREACHABLE", message: expect.stringContaining(hostB) as string });
      expect(performance.now() - began).toBeLessThan(subjects.signal.timeoutMs / 2);
    });

    test("of an agent when no scheduler listens: BUS_UNAVAILABLE", async () => {
      await expect(agent.request(subjects.fetchDesired, own, { have: null })).rejects.toMatchObject({
        code: "BUS_UNAVAILABLE",
      });
    });

    test("that nobody answers end at the subject's deadline", async () => {
      const hasty = { ...subjects.signal, timeoutMs: 50 };
      const given = Promise.withResolvers<unknown>();
      const subscription = agent.respond(hasty, own, async (_body, about) => {
        about.signal.addEventListener("abort", () => given.resolve(about.signal.aborted));
        await given.promise;
        return {};
      });
      await agent.ping();
      await expect(scheduler.request(hasty, own, signal)).rejects.toMatchObject({
        code: "HOST_UNREACHABLE",
        message: expect.stringContaining("within 50 ms") as string,
      });
      expect(await given.promise).toBe(true);
      subscription.unsubscribe();
    });

    test("are shared by the schedulers of one queue", async () => {
      const counts = [0, 0];
      const desired = {
        position: { clusterId: hostA as never, era: 1, version: 0 },
        since: 0,
        digest: "",
        assignments: [],
        tombstones: [],
      };
      const subscriptions = counts.map((_count, index) =>
        scheduler.respond(
          subjects.fetchDesired,
          everyone,
          async () => {
            counts[index]! += 1;
            return desired;
          },
          { queue: "scheduler" },
        ),
      );
      await scheduler.ping();
      for (let index = 0; index < 20; index += 1) await agent.request(subjects.fetchDesired, own, { have: null });
      expect(counts[0]! + counts[1]!).toBe(20);
      for (const subscription of subscriptions) subscription.unsubscribe();
    });

    test("beyond what is handled at once are told OVERLOADED", async () => {
      const open = Promise.withResolvers<Record<string, never>>();
      const subscription = answer(() => open.promise);
      await agent.ping();
      const asked = Array.from({ length: 520 }, () => scheduler.request(subjects.signal, own, signal));
      const refused = await Promise.race(
        asked.map((one) =>
          one.then(
            () => undefined,
            (error: unknown) => error,
          ),
        ),
      );
      expect(refused).toMatchObject({ code: "OVERLOADED" });
      open.resolve({});
      const settled = await Promise.allSettled(asked);
      expect(settled.filter(({ status }) => status === "rejected")).toHaveLength(8);
      subscription.unsubscribe();
    });
  });

  test("the trace context travels in the headers, both ways of asking", async () => {
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const fixed: TextMapPropagator = {
      inject: (_context, carrier, setter) => setter.set(carrier, "traceparent", traceparent),
      extract: (active) => active,
      fields: () => ["traceparent"],
    };
    propagation.setGlobalPropagator(fixed);
    // Without a context manager there is no active context; a span context is enough to have something to carry.
    const active = trace.setSpanContext(context.active(), {
      traceId: traceparent.slice(3, 35),
      spanId: traceparent.slice(36, 52),
      traceFlags: 1,
    });
    const spied = vi.spyOn(context, "active").mockReturnValue(active);
    try {
      const seen: (string | undefined)[] = [];
      const subscriptions = [
        scheduler.subscribe(subjects.report, everyone, (_body, about) => void seen.push(about.traceparent)),
        agent.respond(subjects.signal, own, async (_body, about) => {
          seen.push(about.traceparent);
          return {};
        }),
      ];
      await scheduler.ping();
      await agent.ping();
      agent.publish(subjects.report, own, reports(1));
      await scheduler.request(subjects.signal, own, signal);
      await vi.waitFor(() => expect(seen).toEqual([traceparent, traceparent]), deadline);
      for (const subscription of subscriptions) subscription.unsubscribe();
    } finally {
      spied.mockRestore();
      propagation.disable();
    }
  });
});
