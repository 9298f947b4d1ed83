import type { Problem } from "@bulkhead/contracts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type FakeApp, buildFakeApp, tokens } from "./testing/fake-ports.ts";

let fake: FakeApp;
beforeAll(async () => {
  fake = await buildFakeApp();
});
afterAll(() => fake.app.close());

interface Sent {
  readonly method?: "GET" | "POST" | "PATCH" | "DELETE" | "PUT";
  readonly url?: string;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
}

const send = async ({ method = "POST", url = "/v1/workloads", body, headers = {} }: Sent) => {
  const answer = await fake.app.inject({
    method,
    url,
    headers: {
      authorization: `Bearer ${tokens.admin}`,
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(body === undefined ? {} : { payload: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  return { answer, problem: answer.json<Problem>() };
};

const resources = { cpuMillis: 100, memoryBytes: 64 * 2 ** 20 };
const valid = { name: "web", spec: { image: "app", resources } };
const withSpec = (spec: object) => ({ ...valid, spec: { ...valid.spec, ...spec } });
const withResources = (more: object) => withSpec({ resources: { ...resources, ...more } });

interface Refusal {
  readonly status: number;
  readonly code: string;
  readonly pointers: readonly string[];
}

/** What a refusal says, and whether it is a whole problem document with its ids, after which nothing was done. */
const refusal = ({ answer, problem }: Awaited<ReturnType<typeof send>>) => ({
  status: answer.statusCode,
  code: problem.code,
  pointers: problem.errors?.map(({ pointer }) => pointer) ?? [],
  effects: [...fake.effects],
  whole:
    String(answer.headers["content-type"]).startsWith("application/problem+json") &&
    problem.status === answer.statusCode &&
    problem.title.length > 0 &&
    problem.detail.length > 0 &&
    answer.headers["x-request-id"] === problem.instance &&
    /^[0-9a-f]{32}$/.test(String(answer.headers["x-trace-id"])),
});

const nothingDone = (wanted: Omit<Refusal, "pointers"> & Partial<Refusal>) => ({
  pointers: [],
  ...wanted,
  effects: [],
  whole: true,
});

describe("a malformed workload is refused with pointers, and nothing is written", () => {
  test.each<[string, unknown, readonly string[]]>([
    ["nothing at all", {}, ["/name", "/spec"]],
    ["a list", [], [""]],
    ["text", "name", []],
    ["null", null, [""]],
    [
      "unknown fields, at every level",
      { ...withResources({ gpus: 1 }), colour: "red" },
      ["/colour", "/spec/resources/gpus"],
    ],
    ["a name in capitals", { ...valid, name: "Web" }, ["/name"]],
    ["an empty name", { ...valid, name: "" }, ["/name"]],
    ["a name that is too long", { ...valid, name: "a".repeat(64) }, ["/name"]],
    ["a name whose instances' names are too long", { ...valid, name: "a".repeat(62) }, ["/name"]],
    ["a name like an id", { ...valid, name: "018f0000-0000-7000-8000-000000000000" }, ["/name"]],
    ["a number as text", withResources({ cpuMillis: "100" }), ["/spec/resources/cpuMillis"]],
    ["a fraction", withResources({ cpuMillis: 1.5 }), ["/spec/resources/cpuMillis"]],
    ["no memory", withSpec({ resources: { cpuMillis: 1000 } }), ["/spec/resources/memoryBytes"]],
    ["another isolation", withSpec({ isolation: "jail" }), ["/spec/isolation"]],
    ["another restart policy", withSpec({ restart: { policy: "sometimes" } }), ["/spec/restart/policy"]],
    ["negative replicas", withSpec({ replicas: -1 }), ["/spec/replicas"]],
    ["a relative mount", withSpec({ mounts: [{ hostPath: "srv", path: "/data" }] }), ["/spec/mounts/0/hostPath"]],
    [
      "a mount that climbs",
      withSpec({ mounts: [{ hostPath: "/srv/../etc", path: "/data" }] }),
      ["/spec/mounts/0/hostPath"],
    ],
    ["a target that climbs", withSpec({ mounts: [{ hostPath: "/srv", path: "/a/../b" }] }), ["/spec/mounts/0/path"]],
    [
      "one target twice",
      withSpec({
        mounts: [
          { hostPath: "/srv/a", path: "/data" },
          { hostPath: "/srv/b", path: "/data//" },
        ],
      }),
      ["/spec/mounts/1/path"],
    ],
    ["a mount over /proc", withSpec({ mounts: [{ hostPath: "/srv", path: "/proc/sys" }] }), ["/spec/mounts/0/path"]],
    ["a mount over the root", withSpec({ mounts: [{ hostPath: "/srv", path: "/" }] }), ["/spec/mounts/0/path"]],
    ["an environment name that is none", withSpec({ env: { "A-B": "1" } }), ["/spec/env/A-B"]],
    ["a NUL in the environment", withSpec({ env: { A: "a\0b" } }), ["/spec/env/A"]],
    ["a NUL in the command", withSpec({ command: ["/bin/sh", "a\0b"] }), ["/spec/command/1"]],
    ["an empty command", withSpec({ command: [] }), ["/spec/command"]],
    ["a label key with a space", withSpec({ labels: { "a b": "1" } }), ["/spec/labels/a b"]],
    [
      "a capability that is none",
      withSpec({ container: { capabilities: ["all"] } }),
      ["/spec/container/capabilities/0"],
    ],
    [
      "a tmpfs over the kernel's files",
      withSpec({ tmpfs: [{ path: "/proc/x", sizeBytes: 4096 }] }),
      ["/spec/tmpfs/0/path"],
    ],
    ["a tmpfs that climbs", withSpec({ tmpfs: [{ path: "/a/../b", sizeBytes: 4096 }] }), ["/spec/tmpfs/0/path"]],
    ["a tmpfs without a size", withSpec({ tmpfs: [{ path: "/a" }] }), ["/spec/tmpfs/0/sizeBytes"]],
    [
      "a tmpfs, a mount and a share in one place",
      withSpec({
        mounts: [{ hostPath: "/x", path: "/a" }],
        tmpfs: [{ path: "/a/", sizeBytes: 4096 }],
        shares: [{ share: "data", path: "//a" }],
      }),
      ["/spec/tmpfs/0/path", "/spec/shares/0/path"],
    ],
    [
      "a writable place that is relative",
      withSpec({ container: { writable: ["/data", "data"] } }),
      ["/spec/container/writable/1"],
    ],
    [
      "a writable place that climbs",
      withSpec({ container: { writable: ["/a/../b"] } }),
      ["/spec/container/writable/0"],
    ],
  ])("%s", async (_what, body, pointers) => {
    expect(refusal(await send({ body }))).toEqual(nothingDone({ status: 400, code: "REQUEST_INVALID", pointers }));
  });

  test("broken JSON, an empty body and a name that changes prototypes", async () => {
    expect(refusal(await send({ body: "{" }))).toEqual(nothingDone({ status: 400, code: "REQUEST_INVALID" }));
    const empty = await send({ headers: { "content-type": "application/json" } });
    expect([empty.answer.statusCode, empty.problem.code]).toEqual([400, "REQUEST_INVALID"]);
    expect(refusal(await send({ body: '{"name":"web","__proto__":{"spec":{}}}' }))).toEqual(
      nothingDone({
        status: 400,
        code: "REQUEST_INVALID",
      }),
    );
  });
});

describe("limits that cannot work are refused with the nearest that can", () => {
  test.each<[string, unknown, Record<string, number>, readonly string[]]>([
    [
      "no memory at all",
      withResources({ memoryBytes: 0 }),
      { memoryBytes: 4 * 2 ** 20 },
      ["/spec/resources/memoryBytes"],
    ],
    ["no CPU at all", withResources({ cpuMillis: 0 }), { cpuMillis: 10 }, ["/spec/resources/cpuMillis"]],
    ["one process", withResources({ pidsMax: 1 }), { pidsMax: 2 }, ["/spec/resources/pidsMax"]],
    [
      "more CPUs than any host has",
      withResources({ cpuMillis: 5_000 }),
      { cpuMillis: 4_000 },
      ["/spec/resources/cpuMillis"],
    ],
    [
      "more memory than any host has",
      withResources({ memoryBytes: 2 ** 34 }),
      { memoryBytes: 2 ** 33 },
      ["/spec/resources/memoryBytes"],
    ],
    [
      "a limit below the share",
      withResources({ cpuMillis: 200, cpuLimitMillis: 100 }),
      { cpuLimitMillis: 200 },
      ["/spec/resources/cpuLimitMillis"],
    ],
    [
      "a reservation above the limit",
      withResources({ memoryReservationBytes: 2 ** 30 }),
      { memoryReservationBytes: 64 * 2 ** 20 },
      ["/spec/resources/memoryReservationBytes"],
    ],
  ])("%s", async (_what, body, nearest, pointers) => {
    const sent = await send({ body });
    expect(refusal(sent)).toEqual(nothingDone({ status: 422, code: "LIMIT_INFEASIBLE", pointers }));
    expect(sent.problem.nearestFeasible).toEqual(nearest);
  });

  test("two limits at once are two entries", async () => {
    const sent = await send({ body: withSpec({ resources: { cpuMillis: 0, memoryBytes: 0 } }) });
    expect(refusal(sent)).toEqual(
      nothingDone({
        status: 422,
        code: "LIMIT_INFEASIBLE",
        pointers: ["/spec/resources/cpuMillis", "/spec/resources/memoryBytes"],
      }),
    );
  });
});

test("what exists for containers only is refused for a VM", async () => {
  const resources = { cpuMillis: 100, memoryBytes: 128 * 2 ** 20 };
  expect(
    refusal(await send({ body: withSpec({ isolation: "vm", resources, container: { readOnlyRoot: true } }) })),
  ).toEqual(
    nothingDone({
      status: 422,
      code: "FIELD_NOT_APPLICABLE",
      pointers: ["/spec/container"],
    }),
  );
});

test.each<[string, object, string]>([
  ["what exists for VMs only, for a container", { vm: { engine: "kvm" } }, "/spec/vm"],
  [
    "locked memory of an engine that cannot hold it",
    { isolation: "vm", vm: { engine: "qemu", memoryPolicy: "locked" } },
    "/spec/vm/memoryPolicy",
  ],
  [
    "large pages of an engine that has none",
    { isolation: "vm", vm: { engine: "qemu", hugepages: true } },
    "/spec/vm/hugepages",
  ],
  [
    "more directories than a machine has devices",
    { isolation: "vm", mounts: Array.from({ length: 9 }, (_, at) => ({ hostPath: "/srv", path: `/srv${at}` })) },
    "/spec/shares",
  ],
])("%s", async (_, changes, pointer) => {
  const resources = { cpuMillis: 100, memoryBytes: 128 * 2 ** 20 };
  expect(refusal(await send({ body: withSpec({ resources, ...changes }) }))).toEqual(
    nothingDone({ status: 422, code: "FIELD_NOT_APPLICABLE", pointers: [pointer] }),
  );
});

test("an image nobody imported", async () => {
  expect(refusal(await send({ body: withSpec({ image: "nothing" }) }))).toEqual(
    nothingDone({
      status: 404,
      code: "IMAGE_UNAVAILABLE",
      pointers: ["/spec/image"],
    }),
  );
});

describe("what is wrong around the body", () => {
  test.each<[string, Sent, number, string, (readonly string[])?]>([
    [
      "a media type that is not JSON",
      { body: "a: 1", headers: { "content-type": "application/yaml" } },
      415,
      "MEDIA_TYPE_UNSUPPORTED",
    ],
    ["text", { body: "x", headers: { "content-type": "text/plain" } }, 415, "MEDIA_TYPE_UNSUPPORTED"],
    ["a body of more than a mebibyte", { body: { ...valid, more: "x".repeat(2 ** 20) } }, 413, "BODY_TOO_LARGE"],
    ["a path that is not there", { method: "GET", url: "/v1/nothing" }, 404, "NOT_FOUND"],
    ["a method that is not there", { method: "PUT", url: "/v1/workloads" }, 405, "METHOD_NOT_ALLOWED"],
    ["an unknown query", { method: "GET", url: "/v1/workloads?order=asc" }, 400, "REQUEST_INVALID", ["/order"]],
    [
      "a limit that is no number",
      { method: "GET", url: "/v1/workloads?limit=many" },
      400,
      "REQUEST_INVALID",
      ["/limit"],
    ],
    [
      "a limit beyond the most",
      { method: "GET", url: "/v1/workloads?limit=100000" },
      400,
      "REQUEST_INVALID",
      ["/limit"],
    ],
    [
      "a project that is no name",
      { method: "GET", url: "/v1/workloads", headers: { "bulkhead-project": "A B" } },
      400,
      "REQUEST_INVALID",
    ],
    ["all projects at once", { body: valid, headers: { "bulkhead-project": "*" } }, 400, "REQUEST_INVALID"],
    [
      "an If-Match that is no ETag",
      { method: "PATCH", url: "/v1/workloads/web", body: { spec: {} }, headers: { "if-match": "3" } },
      400,
      "REQUEST_INVALID",
    ],
    ["an Idempotency-Key with a space", { body: valid, headers: { "idempotency-key": "a b" } }, 400, "REQUEST_INVALID"],
    [
      "a body on an action",
      { url: "/v1/instances/web-0/pause", body: { now: true } },
      400,
      "REQUEST_INVALID",
      ["/now"],
    ],
    [
      "a signal that is none",
      { url: "/v1/instances/web-0/kill", body: { signal: 65 } },
      400,
      "REQUEST_INVALID",
      ["/signal"],
    ],
    ["an unknown workload", { method: "GET", url: "/v1/workloads/none" }, 404, "NOT_FOUND"],
    ["an id that is none", { method: "GET", url: "/v1/operations/none" }, 400, "REQUEST_INVALID", ["/operation"]],
    [
      "a stream without an upgrade",
      { method: "GET", url: "/internal/streams/00000000-0000-4000-8000-000000000000" },
      400,
      "REQUEST_INVALID",
    ],
  ])("%s", async (_what, sent, status, code, pointers) => {
    expect(refusal(await send(sent))).toEqual(
      nothingDone({ status, code, ...(pointers === undefined ? {} : { pointers }) }),
    );
  });

  test("a wrong method is told the right ones", async () => {
    const { answer } = await send({ method: "PUT", url: "/v1/workloads/web" });
    expect(answer.headers["allow"]).toBe("DELETE, GET, HEAD, PATCH");
  });
});

describe("patches", () => {
  test.each<[string, unknown, readonly string[]]>([
    ["nothing", {}, ["/spec"]],
    ["a field that cannot change", { spec: { image: "other" } }, ["/spec/image"]],
    [
      "a limit removed that is required",
      { spec: { resources: { memoryBytes: null } } },
      ["/spec/resources/memoryBytes"],
    ],
    ["labels that are numbers", { spec: { labels: { a: 1 } } }, ["/spec/labels/a"]],
  ])("%s", async (_what, body, pointers) => {
    const sent = await send({ method: "PATCH", url: "/v1/workloads/web", body });
    expect(sent.problem.errors?.map(({ pointer }) => pointer)).toEqual(expect.arrayContaining([...pointers]));
    expect([sent.answer.statusCode, sent.problem.code]).toEqual([400, "REQUEST_INVALID"]);
    expect(fake.effects).toEqual([]);
  });

  test("memory below the least is refused with the least", async () => {
    const sent = await send({
      method: "PATCH",
      url: "/v1/workloads/web",
      body: { spec: { resources: { memoryBytes: 1 } } },
    });
    expect(refusal(sent)).toEqual(
      nothingDone({ status: 422, code: "LIMIT_INFEASIBLE", pointers: ["/spec/resources/memoryBytes"] }),
    );
    expect(sent.problem.nearestFeasible).toEqual({ memoryBytes: 4 * 2 ** 20 });
  });
});
