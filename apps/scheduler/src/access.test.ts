import { fleetError, type Problem } from "@bulkhead/contracts";
import { describe, expect, test } from "vitest";
import { buildFakeApp, tokens } from "./testing/fake-ports.ts";

const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe("who may come in", () => {
  test("every route names who may use it, and only these need no token", async () => {
    const { app } = await buildFakeApp();
    const open: string[] = [];
    for (const { url } of [
      { url: "/healthz" },
      { url: "/readyz" },
      { url: "/v1/openapi.json" },
      { url: "/docs" },
      { url: "/v1" },
      { url: "/metrics" },
      { url: "/v1/workloads" },
      { url: "/v2/" },
      { url: "/nothing" },
    ]) {
      const { statusCode } = await app.inject(url);
      if (statusCode !== 401) open.push(url);
    }
    expect(open).toEqual(["/healthz", "/readyz", "/v1/openapi.json", "/docs"]);
    await app.close();
  });

  test.each([
    ["no header", {}],
    ["another scheme", { authorization: "Basic YTpi" }],
    ["an unknown token", bearer("wrong")],
    ["a token in two lines", bearer("a b")],
  ])("%s is 401", async (_what, headers) => {
    const { app } = await buildFakeApp();
    const answer = await app.inject({ url: "/v1", headers });
    expect([answer.statusCode, answer.json<Problem>().code]).toEqual([401, "UNAUTHENTICATED"]);
    await app.close();
  });

  test.each([
    ["viewer", "POST", "/v1/workloads"],
    ["viewer", "POST", "/v1/instances/a-0/stop"],
    ["editor", "GET", "/v1/tokens"],
    ["editor", "GET", "/metrics"],
    ["editor", "GET", "/v2/"],
    ["join", "GET", "/v1/workloads"],
    ["agent", "GET", "/v1/hosts"],
    ["agent", "POST", "/internal/hosts/join"],
  ] as const)("a %s may not %s %s", async (role, method, url) => {
    const { app, effects } = await buildFakeApp();
    const answer = await app.inject({ method, url, headers: bearer(tokens[role]) });
    expect([answer.statusCode, answer.json<Problem>().code]).toEqual([403, "FORBIDDEN"]);
    expect(effects).toEqual([]);
    await app.close();
  });

  test("too many requests of one token are told when to come again", async () => {
    const { app } = await buildFakeApp({ settings: { requestsBurst: 3, requestsPerSecond: 1 } });
    const codes = [];
    for (let at = 0; at < 4; at += 1) codes.push(await app.inject({ url: "/v1", headers: bearer(tokens.admin) }));
    expect(codes.map(({ statusCode }) => statusCode)).toEqual([200, 200, 200, 429]);
    expect(Number(codes[3]?.headers["retry-after"])).toBeGreaterThan(0);
    expect((await app.inject({ url: "/v1", headers: bearer(tokens.viewer) })).statusCode).toBe(200);
    await app.close();
  });

  test("guessing is slowed", async () => {
    const { app } = await buildFakeApp();
    const seen = new Set<number>();
    for (let at = 0; at < 30; at += 1)
      seen.add((await app.inject({ url: "/v1", headers: bearer(`guess-${at}`) })).statusCode);
    expect([...seen]).toEqual([401, 429]);
    expect((await app.inject({ url: "/v1", headers: bearer(tokens.admin) })).statusCode).toBe(200);
    await app.close();
  });

  test("a database that is away is 503, not 401, and heals", async () => {
    let down = true;
    const { app } = await buildFakeApp({
      read: {
        token: async () => {
          if (down) throw fleetError("DATABASE_UNAVAILABLE", "Postgres does not answer.");
          return { tokenId: "t", role: "admin", project: null, hostId: null, isolation: null };
        },
      },
    });
    expect((await app.inject({ url: "/v1", headers: bearer("x") })).json<Problem>().code).toBe("DATABASE_UNAVAILABLE");
    down = false;
    expect((await app.inject({ url: "/v1", headers: bearer("x") })).statusCode).toBe(200);
    await app.close();
  });
});

describe("what needs no token", () => {
  test("readiness says why not", async () => {
    const { app, readiness } = await buildFakeApp();
    readiness.add("bus", async () => {
      throw new Error("no connection");
    });
    const answer = await app.inject("/readyz");
    expect([answer.statusCode, answer.json()]).toEqual([503, { ready: false, failing: { bus: "no connection" } }]);
    expect((await app.inject("/healthz")).statusCode).toBe(200);
    await app.close();
  });

  test("the documentation page holds every path and loads nothing from elsewhere", async () => {
    const { app } = await buildFakeApp();
    const page = await app.inject("/docs");
    expect(page.headers["content-type"]).toContain("text/html");
    const { paths } = (await app.inject("/v1/openapi.json")).json<{ paths: Record<string, unknown> }>();
    for (const path of Object.keys(paths)) expect(page.body).toContain(path);
    expect(page.body).not.toMatch(/<script|src=|@import|href="https?:/);
    await app.close();
  });
});

test("the API says what it is", async () => {
  const { app } = await buildFakeApp();
  const { body } = await app.inject({ url: "/v1", headers: bearer(tokens.viewer) });
  expect(JSON.parse(body)).toMatchObject({
    version: "0.0.0",
    features: expect.arrayContaining(["exec", "live-resize"]),
    limits: { bodyBytes: 2 ** 20, specBytes: 2 ** 16, streams: 2 },
  });
  const metrics = await app.inject({ url: "/metrics", headers: bearer(tokens.admin) });
  expect(metrics.body).toBe("up 1\n");
  await app.close();
});
