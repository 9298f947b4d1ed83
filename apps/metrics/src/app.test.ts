import type { Problem, UsageWindows } from "@bulkhead/contracts";
import { createLogger, Readiness } from "@bulkhead/service";
import { createMeters } from "@bulkhead/telemetry";
import { describe, expect, test } from "vitest";
import { buildApp } from "./app.ts";
import { batch, hostId, instanceId, sample } from "./testing/batches.ts";
import { usageFamilies } from "./usage-families.ts";
import { UsageStore } from "./usage-store.ts";

const build = (token?: string) => {
  const clock = { ms: 1_000_000 };
  const nowMs = (): number => clock.ms;
  const store = new UsageStore({ intervalMs: 5_000, instancesMax: 1_000, hostsMax: 10, nowMs });
  const own = createMeters();
  const app = buildApp({
    store,
    collect: () => [...own.collect(), ...usageFamilies(store, nowMs())],
    meters: own.meters,
    readiness: new Readiness(),
    log: createLogger({ service: "metrics", destination: { write: () => undefined } }),
    nowMs,
    token,
  });
  return { app, store, clock };
};

test("a scrape shows instances, hosts and the service itself", async () => {
  const { app, store } = build();
  store.add(batch([sample(1, { cpuUsageNs: 2e9 })]));
  const reply = await app.inject("/metrics");
  expect(reply.headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(reply.body).toContain(
    'container_cpu_time_seconds_total{project="default",workload="web",instance="web-1",host="one",isolation="container"} 2\n',
  );
  expect(reply.body).toContain('bulkhead_host_memory_total_bytes{host="one"} 2\n');
  expect((await app.inject("/metrics")).body).toContain('http_route="/metrics"');
});

describe("the last ten minutes", () => {
  test("can be asked for by project, workload, name and id", async () => {
    const { app, store, clock } = build();
    const both = [sample(1, { project: "a" }), sample(2, { project: "b", workload: "db" })];
    store.add(batch(both));
    clock.ms += 5_000;
    store.add(batch(both));
    const names = async (query: string): Promise<string[]> =>
      (await app.inject(`/v1/usage${query}`)).json<UsageWindows>().items.map(({ name }) => name);
    expect(await names("")).toEqual(["web-1", "web-2"]);
    expect(await names("?project=a")).toEqual(["web-1"]);
    expect(await names("?workload=db")).toEqual(["web-2"]);
    expect(await names("?instance=web-2")).toEqual(["web-2"]);
    expect(await names(`?instance=${instanceId(1)}`)).toEqual(["web-1"]);
    expect(await names("?project=c")).toEqual([]);
    const [item] = (await app.inject("/v1/usage?project=a")).json<UsageWindows>().items;
    expect(item).toMatchObject({ hostId: hostId(1), points: [{ memoryBytes: 1024 }] });
  });

  test("are bounded, newest first, with how many there are", async () => {
    const { app, store, clock } = build();
    store.add(batch(Array.from({ length: 150 }, (_value, index) => sample(index))));
    clock.ms += 1_000;
    store.add(batch([sample(149)]));
    const { items, total } = (await app.inject("/v1/usage")).json<UsageWindows>();
    expect([items.length, total, items[0]?.name]).toEqual([100, 150, "web-149"]);
  });

  test("an unknown parameter is an error", async () => {
    const reply = await build().app.inject("/v1/usage?since=1");
    expect([reply.statusCode, reply.json<Problem>().errors]).toEqual([
      400,
      [{ pointer: "/since", message: "unknown field" }],
    ]);
  });
});

describe("with a token", () => {
  test("metrics and usage ask for it, health does not", async () => {
    const { app } = build("correct horse battery");
    const status = async (url: string, authorization?: string): Promise<number> =>
      (await app.inject({ url, headers: authorization === undefined ? {} : { authorization } })).statusCode;
    expect(await status("/metrics")).toBe(401);
    expect(await status("/metrics", "Bearer wrong")).toBe(401);
    expect(await status("/v1/usage", "correct horse battery")).toBe(401);
    expect(await status("/metrics", "Bearer correct horse battery")).toBe(200);
    expect(await status("/v1/usage", "Bearer correct horse battery")).toBe(200);
    expect(await status("/healthz")).toBe(200);
  });
});
