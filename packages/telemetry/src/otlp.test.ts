import { once } from "node:events";
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { trace } from "@opentelemetry/api";
import { describe, expect, test, vi } from "vitest";
import type { MetricSource } from "./metric-family.ts";
import { withSpan } from "./span.ts";
import { startTelemetry } from "./telemetry.ts";
import { withTraceparent } from "./traceparent.ts";

/** A collector that keeps what it was sent. */
class Collector implements AsyncDisposable {
  readonly bodies = new Map<string, unknown[]>();
  readonly #server: Server;

  constructor(status = 200) {
    this.#server = createServer((request, response) => {
      void readBody(request).then((text) => {
        const path = request.url ?? "";
        this.bodies.set(path, [...(this.bodies.get(path) ?? []), JSON.parse(text)]);
        response.writeHead(status, { "content-type": "application/json" }).end("{}");
        return undefined;
      });
    }).listen(0, "127.0.0.1");
  }

  async url(): Promise<string> {
    if (!this.#server.listening) await once(this.#server, "listening");
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, "close");
  }
}

const readBody = async (request: IncomingMessage): Promise<string> => {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
};

const source: MetricSource = {
  collect: () => [
    {
      shape: "numbers",
      metric: { name: "container.cpu.time", kind: "counter", unit: "s", labels: ["host"], meaning: "CPU time" },
      points: [{ labels: { host: "a" }, value: 12.5 }],
    },
  ],
};

describe("with a collector", () => {
  test("spans arrive under their stored parent, with service and error", async () => {
    await using collector = new Collector();
    await using telemetry = await startTelemetry({ service: "test", otlpEndpoint: await collector.url() });
    const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await withTraceparent(parent, async () => {
      await withSpan("agent.start", { "bulkhead.attempt": 1 }, async () => undefined);
      await withSpan("agent.stop", {}, async () => {
        throw new Error("stuck");
      }).catch(() => undefined);
    });
    await telemetry.flush();
    const text = JSON.stringify(collector.bodies.get("/v1/traces"));
    expect(text).toContain('"traceId":"0af7651916cd43dd8448eb211c80319c"');
    expect(text).toContain('"parentSpanId":"b7ad6b7169203331"');
    expect(text).toContain('"agent.start"');
    expect(text).toContain('"stuck"');
    expect(text).toContain('"bulkhead-test"');
  });

  test("metrics arrive with the catalogue's names, own and kept ones", async () => {
    await using collector = new Collector();
    await using telemetry = await startTelemetry({
      service: "test",
      otlpEndpoint: `${await collector.url()}/`,
      sources: [source],
      metricIntervalMs: 60_000,
    });
    telemetry.meters.placementDuration.record(0.004, { outcome: "placed" });
    telemetry.meters.hostInstances.set(3, { host: "a", isolation: "container" });
    await telemetry.flush();
    const [first] = collector.bodies.get("/v1/metrics") as {
      resourceMetrics: {
        scopeMetrics: { metrics: { name: string; sum?: object; gauge?: object; histogram?: object }[] }[];
      }[];
    }[];
    const sent = first?.resourceMetrics[0]?.scopeMetrics.flatMap(({ metrics }) => metrics) ?? [];
    const byName = Object.fromEntries(sent.map((metric) => [metric.name, metric]));
    expect(byName["container.cpu.time"]?.sum).toMatchObject({ isMonotonic: true, dataPoints: [{ asDouble: 12.5 }] });
    expect(byName["bulkhead.host.instances"]?.gauge).toMatchObject({ dataPoints: [{ asDouble: 3 }] });
    expect(byName["bulkhead.placement.duration"]?.histogram).toMatchObject({ dataPoints: [{ count: 1, sum: 0.004 }] });
  });

  test("what is pending is sent at the end", async () => {
    await using collector = new Collector();
    {
      await using _telemetry = await startTelemetry({ service: "test", otlpEndpoint: await collector.url() });
      await withSpan("test.last", {}, async () => undefined);
    }
    expect(JSON.stringify(collector.bodies.get("/v1/traces"))).toContain("test.last");
    expect(trace.getTracer("x").startSpan("y").spanContext().traceId).toMatch(/^0+$/);
  });

  test("one that refuses is said once, and neither work nor shutdown fails", async () => {
    await using collector = new Collector(400);
    const lines: string[] = [];
    {
      await using telemetry = await startTelemetry({
        service: "test",
        otlpEndpoint: await collector.url(),
        metricIntervalMs: 20,
        log: { warn: (_fields, message) => void lines.push(message) },
      });
      telemetry.meters.outboxPending.set(1, {});
      expect(await withSpan("test.work", {}, async () => 7)).toBe(7);
      await vi.waitFor(() => expect(collector.bodies.get("/v1/metrics")?.length).toBeGreaterThan(2));
      await expect(telemetry.flush()).rejects.toThrow("did not take everything");
    }
    expect(lines).toEqual(["telemetry not exported"]);
  });
});
