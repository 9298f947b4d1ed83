import type { Problem } from "@bulkhead/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeApp, buildFakeApp, tokens } from "./testing/fake-ports.ts";

let fake: FakeApp;
beforeAll(async () => {
  fake = await buildFakeApp();
});
afterAll(() => fake.app.close());

const torn = "\ud83d";
const resources = { cpuMillis: 100, memoryBytes: 64 * 2 ** 20 };
const workload = (spec: object) => ({ name: "web", spec: { image: "app", resources, ...spec } });
const post = (url: string, body: unknown) => ["POST", url, body] as const;

// Postgres has neither in any text, so what is not refused here fails there.
test.each<[string, readonly ["POST" | "PATCH" | "GET" | "DELETE", string, unknown?], string]>([
  ["a token's name", post("/v1/tokens", { name: "a\0", role: "admin" }), "/name"],
  ["a token's name, torn", post("/v1/tokens", { name: `a${torn}`, role: "admin" }), "/name"],
  ["a label's value", post("/v1/workloads", workload({ labels: { a: torn } })), "/spec/labels/a"],
  ["a label's name", post("/v1/workloads", workload({ labels: { "a\0": "b" } })), "/spec/labels/a\ufffd"],
  ["an environment's value", post("/v1/workloads", workload({ env: { A: torn } })), "/spec/env/A"],
  ["a NUL there", post("/v1/workloads", workload({ env: { A: "\0" } })), "/spec/env/A"],
  ["a command", post("/v1/workloads", workload({ command: ["a", torn] })), "/spec/command/1"],
  ["a NUL in arguments", post("/v1/workloads", workload({ args: ["\0"] })), "/spec/args/0"],
  ["a user", post("/v1/workloads", workload({ user: torn })), "/spec/user"],
  ["a directory", post("/v1/workloads", workload({ workingDir: `/${torn}` })), "/spec/workingDir"],
  ["a NUL in one", post("/v1/workloads", workload({ workingDir: "/\0" })), "/spec/workingDir"],
  [
    "a host's path",
    post("/v1/workloads", workload({ mounts: [{ hostPath: "/\0", path: "/a" }] })),
    "/spec/mounts/0/hostPath",
  ],
  ["a patch", ["PATCH", "/v1/workloads/web", { spec: { labels: { a: "\0" } } }], "/spec/labels/a"],
  ["a host's labels", ["PATCH", "/v1/hosts/h", { labels: { a: torn } }], "/labels/a"],
  ["a share's place", ["POST", "/v1/instances/i/shares/s", { path: `/${torn}` }], "/path"],
  ["the path", ["GET", "/v1/workloads/a%00b"], "/workload"],
  ["the path of a deletion", ["DELETE", "/v1/images/a%00b"], "/image"],
  ["a query", ["GET", "/v1/instances?workload=%00"], "/workload"],
  ["a cursor", ["GET", "/v1/instances?cursor=%00"], "/cursor"],
  ["a query's name", ["GET", "/v1/instances?%00=1"], "/\ufffd"],
])("text that no database keeps is refused, and where it is: %s", async (_what, [method, url, body], pointer) => {
  fake.effects.length = 0;
  const headers = {
    authorization: `Bearer ${tokens.admin}`,
    ...(body === undefined
      ? {}
      : { "content-type": method === "PATCH" ? "application/merge-patch+json" : "application/json" }),
  };
  const answer = await fake.app.inject({
    method,
    url,
    headers,
    ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
  });
  const problem = answer.json<Problem>();
  expect(problem.errors?.map((error) => error.pointer)).toEqual([pointer]);
  expect([answer.statusCode, problem.code, fake.effects]).toEqual([400, "REQUEST_INVALID", []]);
});

test.each([
  ["[", 150_000],
  ['{"a":', 150_000],
  ["[", 5_000],
  ['{"a":', 3_000],
  ['{"a":', 2_000],
  ["[", 1_000],
] as const)("a body nested deeper than anybody reads it is refused: %s, %i times", async (open, depth) => {
  const answer = await fake.app.inject({
    method: "POST",
    url: "/v1/workloads",
    headers: { authorization: `Bearer ${tokens.admin}`, "content-type": "application/json", "idempotency-key": "a" },
    payload: `${open.repeat(depth)}1${(open === "[" ? "]" : "}").repeat(depth)}`,
  });
  expect([answer.statusCode, answer.json<Problem>().code]).toEqual([400, "REQUEST_INVALID"]);
});
