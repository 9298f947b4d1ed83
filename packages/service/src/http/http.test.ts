import { fleetError, type Problem } from "@bulkhead/contracts";
import Fastify, { type FastifyInstance } from "fastify";
import { describe, expect, test } from "vitest";
import { createLogger } from "../log.ts";
import { Readiness } from "../readiness.ts";
import { addHealthRoutes, addProblemHandlers, addRequestTimer, fastifyDefaults, type RequestLabels } from "./index.ts";

const build = (): { app: FastifyInstance; readiness: Readiness; lines: string[]; timed: RequestLabels[] } => {
  const lines: string[] = [];
  const timed: RequestLabels[] = [];
  const app = Fastify(
    fastifyDefaults(createLogger({ service: "sample", destination: { write: (line) => void lines.push(line) } })),
  );
  const readiness = new Readiness();
  addProblemHandlers(app);
  addRequestTimer(app, (seconds, labels) => {
    expect(seconds).toBeGreaterThanOrEqual(0);
    timed.push(labels);
  });
  addHealthRoutes(app, readiness);
  const body = {
    type: "object",
    required: ["name"],
    additionalProperties: false,
    properties: { name: { type: "string" }, size: { type: "integer", minimum: 1 }, "a/b": { type: "integer" } },
  };
  app.post("/v1/things", { schema: { body } }, async () => ({}));
  app.get("/v1/things/:id", async (request) => request.params);
  app.delete("/v1/things/:id", async () => {
    throw fleetError("STATE_CONFLICT", "It is busy.");
  });
  app.get("/v1/boom", async () => {
    throw new Error("postgresql://root:hunter2@db");
  });
  app.get("/v1/limited", async () => {
    throw fleetError("RATE_LIMITED", "Too many.", { fields: { retryAfterMs: 1500 } });
  });
  app.get("/files/*", async () => "file");
  return { app, readiness, lines, timed };
};

const post = (app: FastifyInstance, payload: string, type = "application/json") =>
  app.inject({ method: "POST", url: "/v1/things", headers: { "content-type": type }, payload });

describe("problems", () => {
  test("every fault of a body is listed with its pointer", async () => {
    const { app } = build();
    const reply = await post(app, JSON.stringify({ size: 0, extra: 1, "a/b": "x" }));
    expect(reply.statusCode).toBe(400);
    expect(reply.headers["content-type"]).toContain("application/problem+json");
    const problem = reply.json<Problem>();
    expect(problem.code).toBe("REQUEST_INVALID");
    expect(problem.errors).toEqual(
      expect.arrayContaining([
        { pointer: "/name", message: "is required" },
        { pointer: "/extra", message: "unknown field" },
        { pointer: "/size", message: "must be >= 1" },
        { pointer: "/a~1b", message: "must be integer" },
      ]),
    );
    expect(problem.errors).toHaveLength(4);
    expect(problem.instance).toMatch(/^[0-9a-f-]{36}$/);
  });

  test.each([
    ["malformed JSON", "{", "application/json", 400, "REQUEST_INVALID"],
    ["an empty body", "", "application/json", 400, "REQUEST_INVALID"],
    ["another media type", "a: 1", "application/yaml", 415, "MEDIA_TYPE_UNSUPPORTED"],
    ["a large body", JSON.stringify({ name: "x".repeat(1024 * 1024) }), "application/json", 413, "BODY_TOO_LARGE"],
  ])("%s", async (_what, payload, type, status, code) => {
    const reply = await post(build().app, payload, type);
    expect([reply.statusCode, reply.json<Problem>().code]).toEqual([status, code]);
  });

  test("a number in quotes is not a number", async () => {
    expect((await post(build().app, JSON.stringify({ name: "a", size: "3" }))).statusCode).toBe(400);
  });

  test("an unknown path is 404, a known path with another method 405 with Allow", async () => {
    const { app } = build();
    expect((await app.inject("/v1/nothing")).json<Problem>().code).toBe("NOT_FOUND");
    const wrong = await app.inject({ method: "PUT", url: "/v1/things/7?x=1" });
    expect([wrong.statusCode, wrong.headers["allow"]]).toEqual([405, "DELETE, GET, HEAD"]);
    const star = await app.inject({ method: "POST", url: "/files/a/b" });
    expect([star.statusCode, star.headers["allow"]]).toEqual([405, "GET, HEAD"]);
  });

  test("an error from the table keeps its status, an unknown one leaks nothing and is logged", async () => {
    const { app, lines } = build();
    const conflict = await app.inject({ method: "DELETE", url: "/v1/things/7" });
    expect([conflict.statusCode, conflict.json<Problem>().detail]).toEqual([409, "It is busy."]);
    expect(lines).toEqual([]);
    const boom = await app.inject("/v1/boom");
    expect([boom.statusCode, boom.json<Problem>().code]).toEqual([500, "INTERNAL"]);
    expect(boom.body).not.toContain("hunter2");
    expect(lines).toHaveLength(1);
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ level: "error", msg: "request failed", route: "/v1/boom" });
  });

  test("retryAfterMs is also a Retry-After header, in seconds rounded up", async () => {
    expect((await build().app.inject("/v1/limited")).headers["retry-after"]).toBe("2");
  });
});

describe("health", () => {
  test("ready only while open and every check passes", async () => {
    const { app, readiness } = build();
    const state = { down: false };
    readiness.add("bus", async () => {
      if (state.down) throw new Error("no connection");
    });
    expect((await app.inject("/healthz")).statusCode).toBe(200);
    expect((await app.inject("/readyz")).statusCode).toBe(503);
    readiness.open();
    expect((await app.inject("/readyz")).json()).toEqual({ ready: true, failing: {} });
    state.down = true;
    const failing = await app.inject("/readyz");
    expect([failing.statusCode, failing.json()]).toEqual([503, { ready: false, failing: { bus: "no connection" } }]);
    state.down = false;
    readiness.close();
    expect((await app.inject("/readyz")).statusCode).toBe(503);
  });
});

test("requests are timed by route, never by path", async () => {
  const { app, timed } = build();
  await app.inject("/v1/things/7");
  await app.inject("/v1/unknown/8");
  expect(timed.map((labels) => labels["http.route"])).toEqual(["/v1/things/:id", "unmatched"]);
});
