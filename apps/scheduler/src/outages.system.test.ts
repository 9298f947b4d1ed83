import { once } from "node:events";
import { type IncomingMessage, get } from "node:http";
import type { Operation } from "@bulkhead/contracts";
import { WebSocket } from "ws";
import { expect, test } from "vitest";
import { TestFleet, adminToken, workload } from "./testing/test-fleet.ts";

const start = async () => {
  const fleet = await TestFleet.start();
  const agent = await fleet.addHost("one");
  await fleet.addImage("app");
  const { body } = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("job") });
  await fleet.call("GET", `/v1/operations/${body.id}/wait`);
  return { fleet, agent };
};

test("Postgres that is killed makes 503s, and everything goes on when it is back", async () => {
  const { fleet } = await start();
  await using _fleet = fleet;
  const waiting = fleet.call<Operation>("GET", "/v1/instances/job-0/wait?for=paused&timeoutMs=60000");
  await fleet.postgres.kill();
  const refused = await fleet.call("GET", "/v1/workloads/job");
  expect([refused.status, refused.body.code]).toEqual([503, "DATABASE_UNAVAILABLE"]);
  expect((await waiting).status).toBe(503);
  await fleet.postgres.restart();
  await expect.poll(async () => (await fleet.call("GET", "/v1/workloads/job")).status, { timeout: 20_000 }).toBe(200);
  const made = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("after") });
  expect(made.status).toBe(202);
  const ended = await fleet.call<Operation>("GET", `/v1/operations/${made.body.id}/wait?timeoutMs=50000`);
  expect(ended.body.state).toBe("succeeded");
}, 120_000);

test("NATS that is killed stops commands with 503, not what the database can answer", async () => {
  const { fleet } = await start();
  await using _fleet = fleet;
  await fleet.nats.kill();
  await expect
    .poll(async () => (await fleet.call("POST", "/v1/instances/job-0/kill")).body.code, { timeout: 20_000 })
    .toBe("BUS_UNAVAILABLE");
  expect((await fleet.call("GET", "/v1/instances/job-0")).status).toBe(200);
  const made = await fleet.call<Operation>("POST", "/v1/workloads", { body: workload("meanwhile") });
  expect(made.status).toBe(202);
  await fleet.nats.restart();
  const ended = await fleet.call<Operation>("GET", `/v1/operations/${made.body.id}/wait?timeoutMs=50000`);
  expect(ended.body.state).toBe("succeeded");
}, 120_000);

test("closing ends watchers, waits and streams within seconds", async () => {
  const { fleet, agent } = await start();
  await using _fleet = fleet;
  agent.onExec = () => undefined;
  const headers = { authorization: `Bearer ${adminToken}` };
  const watching = get(`${fleet.url}/v1/events`, { headers });
  watching.on("error", () => undefined);
  const [stream] = (await once(watching, "response")) as [IncomingMessage];
  stream.on("error", () => undefined);
  const query = encodeURIComponent(JSON.stringify(["sleep"]));
  const address = `${fleet.url.replace("http", "ws")}/v1/instances/job-0/exec?command=${query}`;
  const socket = new WebSocket(address, { headers });
  await once(socket, "open");
  await expect.poll(() => fleet.scheduler.broker.size).toBe(1);
  const waiting = fleet.call("GET", "/v1/instances/job-0/wait?for=paused&timeoutMs=60000");
  await expect.poll(() => fleet.scheduler.feed.size).toBe(2);
  const begun = performance.now();
  const gone = Promise.all([once(socket, "close"), once(stream.socket, "close")]);
  await fleet.scheduler.app.close();
  expect(performance.now() - begun).toBeLessThan(8_000);
  await gone;
  expect([(await waiting).status, fleet.scheduler.broker.size]).toEqual([503, 0]);
});
