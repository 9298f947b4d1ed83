import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { connectBus } from "@bulkhead/bus";
import { subjects, type UsageBatch, type UsageWindows } from "@bulkhead/contracts";
import { startNats, type TestNats } from "@bulkhead/testkit/servers";
import { describe, expect, test, vi } from "vitest";
import { batch, hostId, sample } from "./testing/batches.ts";
import { ServiceProcess } from "./testing/service-process.ts";

const deadline = { timeout: 15_000, interval: 20 };
const own = { hostId: hostId(1), isolation: "container" };
const silent = () => undefined;
const log = { debug: silent, info: silent, warn: silent, error: silent };

const start = async (nats: TestNats, environment: Record<string, string> = {}): Promise<ServiceProcess> =>
  ServiceProcess.start({
    BULKHEAD_NATS_URL: nats.url,
    BULKHEAD_NATS_JWT_FILE: nats.keys.metrics.jwtFile,
    BULKHEAD_NATS_SEED_FILE: nats.keys.metrics.seedFile,
    ...environment,
  });

const text = async (service: ServiceProcess, path: string): Promise<string> =>
  (await fetch(`${service.url}${path}`)).text();

/** Everything a hostile host may put into its labels. */
const hostile: UsageBatch = batch(
  [
    sample(1, { project: 'a"} 1\n# TYPE x counter\nx{y="', name: "back\\slash", cpuUsageNs: 1_500_000_000 }),
    sample(2, { workload: "\u0000\ud800ünïcode\u2028", memoryLimitBytes: 4096, ioReadBytes: 7 }),
  ],
  { hostName: "{host}" },
);

describe("the service with the credential up gives it", () => {
  /** What a scrape shows after a host sent the worst it can. */
  const hostileScrape = async (): Promise<string> => {
    await using nats = await startNats({ keys: true });
    await using service = await start(nats);
    await using agent = await connectBus({ ...(await nats.host(hostId(1))), log });
    agent.publish(subjects.usage, own, hostile);
    await vi.waitFor(async () => {
      expect(await text(service, "/metrics")).toContain("container_cpu_time_seconds_total{");
    }, deadline);
    // Awaited here: the service ends with this scope.
    return await text(service, "/metrics");
  };

  test("shows what an agent with a host's credential sends, hostile labels as text", async () => {
    const scrape = await hostileScrape();
    expect(scrape).toContain('instance="back\\\\slash",host="{host}",isolation="container"} 1.5\n');
    expect(scrape).not.toMatch(/^x\{/m);
  });

  test("is read by Prometheus' own parser without a complaint", async ({ skip }) => {
    const here = spawnSync("promtool", ["--version"]).error === undefined;
    if (!here && process.env["CI"] === undefined) skip("promtool (Debian package prometheus) is not installed");
    const read = spawnSync("promtool", ["check", "metrics"], { input: await hostileScrape(), encoding: "utf8" });
    expect([read.status, read.stdout, read.stderr]).toEqual([0, "", ""]);
  });

  test("keeps the last ten minutes for the command line", async () => {
    await using nats = await startNats({ keys: true });
    await using service = await start(nats);
    await using agent = await connectBus({ ...(await nats.host(hostId(1))), log });
    const windows = async (): Promise<UsageWindows> =>
      (await fetch(`${service.url}/v1/usage?instance=web-1`)).json() as Promise<UsageWindows>;
    let cpuUsageNs = 0;
    await vi.waitFor(async () => {
      cpuUsageNs += 1_000_000;
      agent.publish(subjects.usage, own, batch([sample(1, { cpuUsageNs })]));
      expect((await windows()).items[0]?.points.length).toBeGreaterThan(2);
    }, deadline);
    for (const { cpuMillis } of (await windows()).items[0]?.points ?? []) expect(cpuMillis).toBeGreaterThan(0);
  });

  test("forgets an instance after three missed samples", async () => {
    await using nats = await startNats({ keys: true });
    await using service = await start(nats, { BULKHEAD_USAGE_INTERVAL_MS: "100" });
    await using agent = await connectBus({ ...(await nats.host(hostId(1))), log });
    agent.publish(subjects.usage, own, batch([sample(1)]));
    await vi.waitFor(async () => expect(await text(service, "/metrics")).toContain('instance="web-1"'), deadline);
    await vi.waitFor(async () => expect(await text(service, "/metrics")).not.toContain('instance="web-1"'), deadline);
  });

  test("is not ready while NATS is away, keeps answering, and goes on when it is back", async () => {
    await using nats = await startNats({ keys: true });
    await using service = await start(nats);
    const ready = async (): Promise<number> => (await fetch(`${service.url}/readyz`)).status;
    await vi.waitFor(async () => expect(await ready()).toBe(200), deadline);
    await nats.kill();
    await vi.waitFor(async () => expect(await ready()).toBe(503), deadline);
    expect(await text(service, "/readyz")).toContain("no connection to NATS");
    expect((await fetch(`${service.url}/healthz`)).status).toBe(200);
    await nats.server.start();
    await vi.waitFor(async () => expect(await ready()).toBe(200), deadline);
    await using agent = await connectBus({ ...(await nats.host(hostId(1))), log });
    agent.publish(subjects.usage, own, batch([sample(5)]));
    await vi.waitFor(async () => expect(await text(service, "/metrics")).toContain('instance="web-5"'), deadline);
  });

  test("ends cleanly on SIGTERM", async () => {
    await using nats = await startNats({ keys: true });
    const service = await start(nats);
    expect(await service.stop()).toBe(0);
    expect(service.messages.at(-1)).toBe("service stopped");
  });

  test("pushes the same names by OTLP", async () => {
    const names = new Set<string>();
    const collector = createServer((request, response) => {
      const parts: Buffer[] = [];
      request.on("data", (part: Buffer) => parts.push(part));
      request.on("end", () => {
        for (const [, name = ""] of Buffer.concat(parts)
          .toString()
          .matchAll(/"name":"([a-z.]+)"/g))
          names.add(name);
        response.writeHead(200, { "content-type": "application/json" }).end("{}");
      });
    }).listen(0, "127.0.0.1");
    await once(collector, "listening");
    const { port } = collector.address() as AddressInfo;
    await using nats = await startNats({ keys: true });
    {
      await using service = await start(nats, { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` });
      await using agent = await connectBus({ ...(await nats.host(hostId(1))), log });
      agent.publish(subjects.usage, own, hostile);
      await vi.waitFor(async () => expect(await text(service, "/metrics")).toContain("container_cpu_time"), deadline);
      // What is pending is sent when the service ends.
    }
    collector.closeAllConnections();
    collector.close();
    for (const name of ["container.cpu.time", "container.memory.usage", "bulkhead.host.cpu.busy.time"]) {
      expect(names).toContain(name);
    }
  });
});

test("a credential that NATS does not take ends the service with a clear message", async () => {
  await using nats = await startNats({ keys: true });
  await expect(ServiceProcess.start({ BULKHEAD_NATS_URL: nats.url })).rejects.toThrow("service failed");
});
