import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { subjects } from "@bulkhead/contracts";
import { startNats } from "@bulkhead/testkit/servers";
import { describe, expect, test, vi } from "vitest";
import { connectBus } from "./connect.ts";
import { hostA, memoryLog, reports } from "./testing/messages.ts";

const own = { hostId: hostA, isolation: "container" };
const everyone = { hostId: "*", isolation: "*" };
const signal = { instanceId: reports(1).reports[0]!.instanceId, signal: 15 };
const deadline = { timeout: 10_000, interval: 10 };

describe("losing the server", () => {
  test("messages are dropped and said so, requests fail at once, and all heals when it is back", async () => {
    await using nats = await startNats();
    const log = memoryLog();
    await using bus = await connectBus({ ...(await nats.service("scheduler")), log });
    const seen: number[] = [];
    bus.subscribe(subjects.report, everyone, (body) => void seen.push(body.reports[0]?.seq ?? 0));
    let reconnects = 0;
    bus.onReconnect(() => {
      reconnects += 1;
    });
    await nats.kill();
    await vi.waitFor(() => expect(bus.connected).toBe(false), deadline);
    expect(bus.publish(subjects.report, own, reports(1))).toBe(false);
    expect(bus.counters.dropped).toBe(1);
    await expect(bus.request(subjects.signal, own, signal)).rejects.toMatchObject({ code: "BUS_UNAVAILABLE" });
    await expect(bus.ping()).rejects.toMatchObject({ code: "BUS_UNAVAILABLE" });
    await nats.server.start();
    await vi.waitFor(() => expect(reconnects).toBe(1), deadline);
    expect(bus.publish(subjects.report, own, reports(2))).toBe(true);
    await vi.waitFor(() => expect(seen).toEqual([2]), deadline);
    expect(log.messages()).toEqual(expect.arrayContaining(["bus disconnected", "bus connected again"]));
  });

  test("a bus that is drained while the server is away ends", async () => {
    await using nats = await startNats();
    const bus = await connectBus({ ...(await nats.service("scheduler")), log: memoryLog() });
    await nats.kill();
    await vi.waitFor(() => expect(bus.connected).toBe(false), deadline);
    await bus.drain();
    await bus.drain();
    expect(bus.connected).toBe(false);
  });
});

describe("connecting", () => {
  const log = memoryLog();

  test("waits for a server that is not there yet", async () => {
    await using nats = await startNats();
    await nats.kill();
    const connecting = connectBus({ url: nats.url, name: "scheduler", log });
    await nats.server.start();
    await using bus = await connecting;
    expect(bus.connected).toBe(true);
  });

  test("gives up after its deadline, or when told to: BUS_UNAVAILABLE with the address", async () => {
    const url = "nats://127.0.0.1:1";
    const unreachable = { code: "BUS_UNAVAILABLE", message: expect.stringContaining(url) as string };
    await expect(connectBus({ url, name: "a", log, connectMs: 100 })).rejects.toMatchObject(unreachable);
    const signal = AbortSignal.abort();
    await expect(connectBus({ url, name: "a", log, connectMs: 60_000, signal })).rejects.toMatchObject(unreachable);
  });

  test("refuses a server that is too old, by what it lacks", async () => {
    const old = createServer((socket) => {
      socket.write('INFO {"server_id":"x","version":"2.1.9","proto":1,"max_payload":1048576}\r\n');
      socket.on("data", (chunk) => {
        if (chunk.includes("PING")) socket.write("PONG\r\n");
      });
      socket.on("error", () => socket.destroy());
    }).listen(0, "127.0.0.1");
    await once(old, "listening");
    const { port } = old.address() as AddressInfo;
    await expect(connectBus({ url: `nats://127.0.0.1:${port}`, name: "a", log })).rejects.toMatchObject({
      code: "BUS_UNAVAILABLE",
      message: expect.stringMatching(/2\.1\.9 lacks .*message headers/) as string,
    });
    old.close();
  });

  test("a wrong host id is refused before anything is sent", async () => {
    await using nats = await startNats();
    await using bus = await connectBus({ url: nats.url, name: "a", log });
    expect(() => bus.publish(subjects.report, { hostId: ">", isolation: "vm" }, reports(1))).toThrow(RangeError);
  });
});
