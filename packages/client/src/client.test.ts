import { isFleetError, type FleetError } from "@bulkhead/contracts";
import { expect, test } from "vitest";
import { bodyOf, serve } from "./api.fixture.ts";
import { createClient } from "./client.ts";
import { problemOf } from "./problem.ts";

const failureOf = async (work: Promise<unknown>): Promise<FleetError> => {
  const error: unknown = await work.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!isFleetError(error)) throw new Error(`not a FleetError: ${String(error)}`);
  return error;
};

test("a request carries token, project, idempotency key and merge-patch type", async () => {
  const seen: {
    method: string | undefined;
    url: string | undefined;
    headers: NodeJS.Dict<string | string[]>;
    body: string;
  }[] = [];
  await using api = await serve(async (request, response) => {
    seen.push({ method: request.method, url: request.url, headers: request.headers, body: await bodyOf(request) });
    response.end("{}");
  });
  const client = createClient({ url: `${api.url}/`, token: "secret", project: "team" });
  await client.instances.act("web-0", "stop", { graceMs: 100 });
  await client.workloads.patch("web", { spec: { replicas: 2 } }, 7);
  expect(seen.map(({ method, url }) => `${method} ${url}`)).toEqual([
    "POST /v1/instances/web-0/stop",
    "PATCH /v1/workloads/web",
  ]);
  expect(seen[0]?.headers).toMatchObject({ authorization: "Bearer secret", "bulkhead-project": "team" });
  expect(seen[0]?.headers["idempotency-key"]).toMatch(/^[0-9a-f-]{36}$/);
  expect(seen[0]?.body).toBe('{"graceMs":100}');
  expect(seen[1]?.headers).toMatchObject({ "content-type": "application/merge-patch+json", "if-match": '"7"' });
  expect(seen[1]?.headers["idempotency-key"]).toBeUndefined();
});

test("a service that has no time is asked again, with the same key; a stream is not sent twice", async () => {
  const keys: (string | string[] | undefined)[] = [];
  await using api = await serve((request, response) => {
    keys.push(request.headers["idempotency-key"]);
    const problem = { code: "OVERLOADED", detail: "Busy.", retryAfterMs: 1 };
    if (keys.length === 3) response.end("{}");
    else response.writeHead(503, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
  });
  const client = createClient({ url: api.url, token: "t" });
  await client.instances.act("web-0", "stop");
  expect(keys).toEqual([keys[0], keys[0], keys[0]]);
  async function* content() {
    yield Buffer.from("archive");
  }
  const sent = client.images.import("app", { content: content(), name: "app.tar" });
  expect((await failureOf(sent)).code).toBe("OVERLOADED");
  expect(keys).toHaveLength(4);
});

test("names cannot reach another path", async () => {
  let path: string | undefined;
  await using api = await serve((request, response) => {
    path = request.url;
    response.end("{}");
  });
  await createClient({ url: api.url, token: "t" }).instances.get("../hosts?x=1");
  expect(path).toBe("/v1/instances/..%2Fhosts%3Fx%3D1");
});

test("lists follow the cursor to the end", async () => {
  const asked: (string | undefined)[] = [];
  await using api = await serve((request, response) => {
    asked.push(request.url);
    const second = request.url?.includes("cursor=next");
    response.end(
      JSON.stringify(
        second ? { items: [{ id: 3 }], nextCursor: null } : { items: [{ id: 1 }, { id: 2 }], nextCursor: "next" },
      ),
    );
  });
  const items = await Array.fromAsync(createClient({ url: api.url, token: "t" }).hosts.list());
  expect(items).toEqual([{ id: 1 }, { id: 2 }, { id: 3 }]);
  expect(asked).toEqual(["/v1/hosts?limit=100", "/v1/hosts?limit=100&cursor=next"]);
});

test("a problem becomes a FleetError with every host's reason and the document as its cause", async () => {
  const problem = {
    type: "https://bulkhead.dev/errors#no_capacity",
    title: "No host can take it",
    status: 409,
    code: "NO_CAPACITY",
    detail: "No host has 64 CPUs.",
    hosts: [{ hostId: "0", hostName: "a", reason: "has 2 CPUs" }],
    nearestFeasible: { cpuMillis: 2000 },
    traceId: "abc",
  };
  await using api = await serve((_request, response) => {
    response.writeHead(409, { "content-type": "application/problem+json" }).end(JSON.stringify(problem));
  });
  const error = await failureOf(createClient({ url: api.url, token: "t" }).workloads.get("web"));
  expect(error).toMatchObject({ code: "NO_CAPACITY", message: "No host has 64 CPUs." });
  expect(error.fields).toEqual({ hosts: problem.hosts, nearestFeasible: { cpuMillis: 2000 } });
  expect(problemOf(error)?.traceId).toBe("abc");
});

test("a code of a newer API keeps its name in the text", async () => {
  await using api = await serve((_request, response) => {
    response.writeHead(418).end(JSON.stringify({ code: "TEAPOT", detail: "short and stout" }));
  });
  const error = await failureOf(createClient({ url: api.url, token: "t" }).information());
  expect(error).toMatchObject({ code: "INTERNAL", message: "TEAPOT: short and stout" });
});

test("answers of something else than the API are told as such", async () => {
  await using api = await serve((request, response) => {
    if (request.url === "/v1") response.writeHead(502).end("<html>bad gateway");
    else response.end("<html>hello");
  });
  const client = createClient({ url: api.url, token: "t" });
  expect(await failureOf(client.information())).toMatchObject({ code: "API_UNREACHABLE" });
  const error = await failureOf(client.hosts.get("a"));
  expect(error.message).toContain("Is this address a Bulkhead API?");
});

test("no answer is API_UNREACHABLE with the address and the reason", async () => {
  const url = await (async () => {
    await using api = await serve((_request, response) => void response.end());
    return api.url;
  })();
  const error = await failureOf(createClient({ url, token: "t" }).information());
  expect(error.code).toBe("API_UNREACHABLE");
  expect(error.message).toContain(url);
  expect(error.message).toContain("ECONNREFUSED");
});

test("an aborted request throws the signal's own reason", async () => {
  await using api = await serve(() => undefined);
  const controller = new AbortController();
  const waiting = createClient({ url: api.url, token: "t" }).instances.wait("a", "running", {
    timeoutMs: 5_000,
    signal: controller.signal,
  });
  controller.abort(new Error("enough"));
  await expect(waiting).rejects.toThrow("enough");
});

test("a long wait is made of short ones", async () => {
  const timeouts: number[] = [];
  await using api = await serve((request, response) => {
    timeouts.push(Number(new URL(request.url ?? "", "http://x").searchParams.get("timeoutMs")));
    if (timeouts.length < 3) {
      response.writeHead(408).end(JSON.stringify({ code: "WAIT_TIMEOUT", detail: "not yet" }));
    } else {
      response.end(JSON.stringify({ state: "running" }));
    }
  });
  const instance = await createClient({ url: api.url, token: "t" }).instances.wait("a", "running", {
    timeoutMs: 90_000,
  });
  expect(instance.state).toBe("running");
  expect(timeouts).toHaveLength(3);
  expect(Math.max(...timeouts)).toBe(30_000);
});

test("a wait ends with WAIT_TIMEOUT when its time is over", async () => {
  await using api = await serve((_request, response) => {
    response.writeHead(408).end(JSON.stringify({ code: "WAIT_TIMEOUT", detail: "not yet" }));
  });
  const error = await failureOf(createClient({ url: api.url, token: "t" }).operations.wait("o", { timeoutMs: 20 }));
  expect(error).toMatchObject({ code: "WAIT_TIMEOUT", message: expect.stringContaining("within 20 ms") });
});

test("an import streams the archive and tells how far it is", async () => {
  let received = 0;
  let type: string | undefined;
  await using api = await serve(async (request, response) => {
    type = request.headers["content-type"];
    received = (await bodyOf(request)).length;
    response.end(JSON.stringify({ names: ["app:latest"] }));
  });
  const { withProgress } = await import("./upload.ts");
  const told: number[] = [];
  const chunks = async function* (): AsyncGenerator<Uint8Array> {
    for (let n = 0; n < 10; n += 1) yield Buffer.alloc(100_000, 65);
  };
  const content = withProgress(chunks(), 1_000_000, ({ sentBytes }) => told.push(sentBytes));
  await createClient({ url: api.url, token: "t" }).images.import("app", { content, name: "app.tar" });
  expect(received).toBe(1_000_000);
  expect(type).toBe("application/x-tar");
  expect(told.at(-1)).toBe(1_000_000);
});
