import { streams, subjects } from "@bulkhead/contracts";
import { startNats, type TestNats } from "@bulkhead/testkit/servers";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { describe, expect, test, vi } from "vitest";
import type { Bus } from "./bus.ts";
import { connectBus } from "./connect.ts";
import { hostA, memoryLog, reports } from "./testing/messages.ts";

const own = { hostId: hostA, isolation: "container" };
const deadline = { timeout: 15_000, interval: 10 };
const { name: stream } = streams.reports;

const open = async (nats: TestNats, log = memoryLog()): Promise<Bus> =>
  connectBus({ ...(await nats.service("scheduler")), log });

/** Consumes and keeps the order in which sequence numbers came. */
const collect = (bus: Bus, options: { maxBatch?: number } = {}) => {
  const seen: number[] = [];
  const batches: number[] = [];
  const consumption = bus.consume(
    "reports",
    subjects.report,
    async (batch) => {
      batches.push(batch.length);
      seen.push(...batch.map(({ body }) => body.reports[0]?.seq ?? 0));
    },
    options,
  );
  return { seen, batches, consumption };
};

const send = (bus: Bus, ...seqs: number[]): void => {
  for (const seq of seqs) expect(bus.publish(subjects.report, own, reports(seq))).toBe(true);
};

describe("with JetStream", () => {
  test("stream and consumer are made, and messages come in order with their sender", async () => {
    await using nats = await startNats({ keys: true });
    await using bus = await open(nats);
    const senders: string[] = [];
    const consumption = bus.consume("reports", subjects.report, async (batch) => {
      senders.push(...batch.map(({ parameters, body }) => `${parameters.hostId} ${body.reports[0]?.seq}`));
    });
    await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
    await using agent = await connectBus({ ...(await nats.host(hostA)), log: memoryLog() });
    send(agent, 1, 2, 3);
    await vi.waitFor(() => expect(senders).toEqual([`${hostA} 1`, `${hostA} 2`, `${hostA} 3`]), deadline);
  });

  test("what arrives while a batch is handled is one batch, bounded", async () => {
    await using nats = await startNats();
    await using bus = await open(nats);
    const gate = Promise.withResolvers<void>();
    const batches: number[] = [];
    const consumption = bus.consume(
      "reports",
      subjects.report,
      async (batch) => {
        batches.push(batch.length);
        await gate.promise;
      },
      { maxBatch: 10 },
    );
    await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
    send(bus, 1);
    await vi.waitFor(() => expect(batches).toEqual([1]), deadline);
    send(bus, ...Array.from({ length: 25 }, (_value, index) => index + 2));
    // Delivered means that they wait on our side: the gate opens when more than one batch does.
    const watcher = await connect({ servers: nats.url });
    const manager = await jetstreamManager(watcher);
    await vi.waitFor(async () => {
      expect((await manager.consumers.info(stream, "folder")).num_ack_pending).toBeGreaterThan(10);
    }, deadline);
    await bus.ping();
    gate.resolve();
    await vi.waitFor(() => expect(batches.reduce((sum, length) => sum + length, 0)).toBe(26), deadline);
    expect(Math.max(...batches)).toBeLessThanOrEqual(10);
    expect(batches.slice(0, 2)).toEqual([1, 10]);
    await watcher.close();
  });

  test("a batch whose handler fails comes again; one that was handled does not", async () => {
    await using nats = await startNats();
    await using bus = await open(nats);
    const seen: number[] = [];
    let failures = 0;
    const consumption = bus.consume("reports", subjects.report, async (batch) => {
      if (failures < 2) {
        failures += 1;
        throw new Error("database away");
      }
      seen.push(...batch.map(({ body }) => body.reports[0]?.seq ?? 0));
    });
    await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
    send(bus, 1);
    await vi.waitFor(() => expect(seen).toEqual([1]), deadline);
    expect(bus.counters.handlerFailures).toBe(2);
    await consumption.stop();
    const { seen: later, consumption: next } = collect(bus);
    await vi.waitFor(() => expect(next.mode).toBe("jetstream"), deadline);
    send(bus, 2);
    await vi.waitFor(() => expect(later).toEqual([2]), deadline);
  });

  test("a message that will never fit is refused once and does not block the others", async () => {
    await using nats = await startNats();
    await using bus = await open(nats);
    const { seen, consumption } = collect(bus);
    await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
    const raw = await connect({ servers: nats.url });
    raw.publish(`bulkhead.v1.${hostA}.container.report`, "rubbish");
    await raw.drain();
    send(bus, 1);
    await vi.waitFor(() => expect(seen).toEqual([1]), deadline);
    expect(bus.counters.refused).toBe(1);
    const watcher = await connect({ servers: nats.url });
    const manager = await jetstreamManager(watcher);
    await vi.waitFor(async () => {
      const { num_ack_pending, num_redelivered } = await manager.consumers.info(stream, "folder");
      expect([num_ack_pending, num_redelivered]).toEqual([0, 0]);
    }, deadline);
    await watcher.close();
  });

  test("messages sent while nobody consumed are there, those acknowledged are not", async () => {
    await using nats = await startNats();
    await using agent = await open(nats);
    {
      await using first = await open(nats);
      const { seen, consumption } = collect(first);
      await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
      send(agent, 1);
      await vi.waitFor(() => expect(seen).toEqual([1]), deadline);
    }
    send(agent, 2, 3);
    await agent.ping();
    await using second = await open(nats);
    const { seen } = collect(second);
    await vi.waitFor(() => expect(seen).toEqual([2, 3]), deadline);
  });

  test.each([
    ["the consumer was deleted", (url: string) => removing(url, "consumer")],
    ["the stream was deleted", (url: string) => removing(url, "stream")],
  ])("it goes on when %s", async (_what, remove) => {
    await using nats = await startNats();
    await using bus = await open(nats);
    const { seen, consumption } = collect(bus);
    await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
    await remove(nats.url);
    // An agent repeats what is not acknowledged; so does this.
    await vi.waitFor(
      () => {
        send(bus, 7);
        expect(seen).toContain(7);
      },
      { timeout: 25_000, interval: 200 },
    );
    await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
  });

  test("it goes on after kill -9 of the server, and after its disk was lost", async () => {
    await using nats = await startNats({ keys: true });
    await using bus = await open(nats);
    const { seen, consumption } = collect(bus);
    await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
    for (const [round, wipe] of [false, true].entries()) {
      await nats.restart({ wipe });
      await vi.waitFor(
        () => {
          bus.publish(subjects.report, own, reports(10 + round));
          expect(seen).toContain(10 + round);
        },
        { timeout: 25_000, interval: 200 },
      );
      await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
    }
  });

  test("a stream that takes pulls and brings nothing is made anew", async () => {
    await using nats = await startNats();
    const log = memoryLog();
    await using bus = await open(nats, log);
    const { seen, consumption } = collect(bus);
    await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
    // A consumer that matches nothing of the stream any more: healthy in every answer, and silent.
    const raw = await connect({ servers: nats.url });
    const manager = await jetstreamManager(raw);
    await manager.streams.update(stream, { subjects: ["elsewhere"] });
    await vi.waitFor(
      () => {
        send(bus, 7);
        expect(seen).toContain(7);
      },
      { timeout: 25_000, interval: 200 },
    );
    await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
    expect((await manager.streams.info(stream)).config.subjects).toEqual(streams.reports.subjects);
    expect(log.messages()).toContain("stream lost, making it again");
    await raw.close();
  });

  test("stop() waits for the batch under way and takes no further one", async () => {
    await using nats = await startNats();
    await using bus = await open(nats);
    const gate = Promise.withResolvers<void>();
    const handled: number[] = [];
    const consumption = bus.consume(
      "reports",
      subjects.report,
      async (batch) => {
        await gate.promise;
        handled.push(batch.length);
      },
      { maxBatch: 1 },
    );
    await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
    send(bus, 1, 2, 3);
    await bus.ping();
    const stopping = consumption.stop();
    gate.resolve();
    await stopping;
    expect(handled.length).toBeLessThanOrEqual(1);
  });

  test("a stream that somebody made otherwise is brought in line", async () => {
    await using nats = await startNats();
    const raw = await connect({ servers: nats.url });
    const manager = await jetstreamManager(raw);
    await manager.streams.add({ name: stream, subjects: [...streams.reports.subjects], max_bytes: 1024 * 1024 });
    await using bus = await open(nats);
    const { consumption } = collect(bus);
    await vi.waitFor(() => expect(consumption.mode).toBe("jetstream"), deadline);
    expect((await manager.streams.info(stream)).config.max_bytes).toBe(streams.reports.maxBytes);
    await raw.close();
  });
});

describe("without JetStream", () => {
  test("the subject itself is listened to, and the log says so", async () => {
    await using nats = await startNats({ jetStream: false });
    const log = memoryLog();
    await using bus = await open(nats, log);
    const { seen, consumption } = collect(bus);
    await vi.waitFor(() => expect(consumption.mode).toBe("core"), deadline);
    await bus.ping();
    send(bus, 1, 2);
    await vi.waitFor(() => expect(seen).toEqual([1, 2]), deadline);
    expect(log.messages()).toContain("stream not usable, listening to its subject instead");
  });

  test("a subject that no stream buffers cannot be consumed", async () => {
    await using nats = await startNats({ jetStream: false });
    await using bus = await open(nats);
    expect(() => bus.consume("reports", subjects.usage, async () => undefined)).toThrow(/not buffered/);
  });
});

const removing = async (url: string, what: "stream" | "consumer"): Promise<void> => {
  const raw = await connect({ servers: url });
  const manager = await jetstreamManager(raw);
  if (what === "stream") await manager.streams.delete(stream);
  else await manager.consumers.delete(stream, "folder");
  await raw.close();
};
