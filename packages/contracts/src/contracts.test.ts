import * as fc from "fast-check";
import { Value } from "typebox/value";
import { describe, expect, test } from "vitest";
import {
  channels,
  compareEpochs,
  CreateWorkload,
  decodeFrame,
  documentDigest,
  encodeFrame,
  errors,
  fleetError,
  isFleetError,
  metrics,
  parseSubject,
  PatchWorkload,
  Problem,
  streams,
  subjectFor,
  subjects,
  toProblem,
  uuidV7,
  type Assignment,
} from "./index.ts";

const spec = { image: "redis", resources: { cpuMillis: 500, memoryBytes: 64 * 1024 * 1024 } };

describe("workload schema", () => {
  test("the smallest workload is a name, an image and two resources", () => {
    expect(Value.Check(CreateWorkload, { name: "cache", spec })).toBe(true);
  });

  test.each([
    ["an unknown field", { name: "cache", spec: { ...spec, memory: 1 } }],
    ["an upper-case name", { name: "Cache", spec }],
    ["zero memory", { name: "cache", spec: { ...spec, resources: { cpuMillis: 500, memoryBytes: 0 } } }],
    ["zero cpu", { name: "cache", spec: { ...spec, resources: { cpuMillis: 0, memoryBytes: 2 ** 26 } } }],
    [
      "a fraction of a byte",
      { name: "cache", spec: { ...spec, resources: { cpuMillis: 500, memoryBytes: 2 ** 26 + 0.5 } } },
    ],
    ["an environment name with a space", { name: "cache", spec: { ...spec, env: { "A B": "x" } } }],
    ["a relative mount", { name: "cache", spec: { ...spec, mounts: [{ hostPath: "srv", path: "/srv" }] } }],
  ])("%s is refused", (_, body) => {
    expect(Value.Check(CreateWorkload, body)).toBe(false);
  });

  test("a patch names only what changes, and null removes an optional limit", () => {
    expect(Value.Check(PatchWorkload, { spec: { resources: { memoryBytes: 2 ** 27 } } })).toBe(true);
    expect(Value.Check(PatchWorkload, { spec: { resources: { cpuLimitMillis: null } } })).toBe(true);
    expect(Value.Check(PatchWorkload, { spec: { resources: { memoryBytes: null } } })).toBe(false);
    expect(Value.Check(PatchWorkload, { spec: { image: "other" } })).toBe(false);
  });
});

describe("subjects", () => {
  const parameters = { hostId: "0198c0de-0000-7000-8000-000000000001", isolation: "container" };

  test("every pattern is built and parsed back", () => {
    for (const { pattern } of Object.values(subjects)) {
      expect(parseSubject(pattern, subjectFor(pattern, parameters))).toEqual(parameters);
    }
  });

  test("no two subjects share a pattern, and none is longer than NATS advises", () => {
    const patterns = Object.values(subjects).map(({ pattern }) => pattern);
    expect(new Set(patterns).size).toBe(patterns.length);
    for (const pattern of patterns) expect(pattern.split(".").length).toBeLessThanOrEqual(16);
  });

  test.each(["a.b", ">", "", "a b", "x".repeat(65)])("%j is not a parameter", (hostId) => {
    expect(() => subjectFor(subjects.heartbeat.pattern, { hostId, isolation: "container" })).toThrow(RangeError);
  });

  test("a stream's filter covers the subjects that name it", () => {
    const token = (subject: string): string => subject.replaceAll(/\{\w+\}/g, "*");
    const buffered = Object.values(subjects).flatMap((subject) =>
      "stream" in subject && subject.stream !== undefined ? [{ pattern: subject.pattern, stream: subject.stream }] : [],
    );
    expect(buffered.length).toBeGreaterThan(0);
    for (const { pattern, stream } of buffered) expect(streams[stream].subjects).toContain(token(pattern));
  });
});

describe("errors", () => {
  test("a known error keeps its code, detail and fields", () => {
    const problem = toProblem(
      fleetError("LIMIT_INFEASIBLE", "cpuMillis is 99000; the largest host has 2000", {
        fields: { nearestFeasible: { cpuMillis: 2000 } },
      }),
    );
    expect(problem).toMatchObject({ code: "LIMIT_INFEASIBLE", status: 422, nearestFeasible: { cpuMillis: 2000 } });
    expect(Value.Check(Problem, problem)).toBe(true);
  });

  test("keeps no text that a database would refuse, whomever it quotes", () => {
    const problem = toProblem(fleetError("IMAGE_UNAVAILABLE", "the registry says a\0", { fields: { errors: [] } }));
    expect(problem).toMatchObject({ detail: "the registry says a\ufffd", errors: [] });
  });

  test("an unknown error tells nothing of itself", () => {
    const problem = toProblem(new Error("password=hunter2"), { traceId: "t" });
    expect(problem).toMatchObject({ code: "INTERNAL", status: 500, traceId: "t" });
    expect(JSON.stringify(problem)).not.toContain("hunter2");
  });

  test("a thing that only looks like ours is not ours", () => {
    expect(isFleetError(Object.assign(new Error("x"), { name: "FleetError", code: "NO_SUCH" }))).toBe(false);
  });

  test("every status is an error status and every row says what to do", () => {
    for (const row of Object.values(errors)) {
      expect(row.status).toBeGreaterThanOrEqual(400);
      expect(row.remedy.endsWith(".")).toBe(true);
    }
  });
});

describe("metrics", () => {
  test("names are unique and dotted lower case, as OpenTelemetry writes them", () => {
    const names = Object.values(metrics).map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    for (const name of names) expect(name).toMatch(/^[a-z]+(\.[a-z]+)+$/);
  });
});

describe("ids", () => {
  test("UUIDv7 sorts by time and carries version and variant", () => {
    fc.assert(
      fc.property(
        fc.nat({ max: 2 ** 40 }),
        fc.nat({ max: 2 ** 40 }),
        fc.uint8Array({ minLength: 10, maxLength: 10 }),
        (a, b, random) => {
          const [first, second] = [uuidV7(a, random), uuidV7(b, random)];
          expect(first).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
          expect(Math.sign(first.localeCompare(second))).toBe(Math.sign(a - b));
        },
      ),
    );
  });

  test("a newer era beats any number of an older one", () => {
    expect(compareEpochs({ era: 2, n: 1 }, { era: 1, n: 99 })).toBeGreaterThan(0);
    expect(compareEpochs({ era: 1, n: 2 }, { era: 1, n: 2 })).toBe(0);
  });
});

describe("frames", () => {
  test("what is encoded is decoded", () => {
    fc.assert(
      fc.property(fc.constantFrom(...Object.values(channels)), fc.uint8Array(), (channel, payload) => {
        expect(decodeFrame(encodeFrame(channel, payload))).toEqual({ channel, payload });
      }),
    );
  });

  test("an empty frame and an unknown channel are nothing", () => {
    expect(decodeFrame(new Uint8Array())).toBeUndefined();
    expect(decodeFrame(Uint8Array.of(9, 1))).toBeUndefined();
  });
});

describe("document digest", () => {
  const assignment = (instanceId: string, generation: number): Assignment =>
    ({ instanceId, generation, epoch: { era: 1, n: 1 }, desired: "running", restartRequest: 0 }) as Assignment;

  test("order does not matter, content does", () => {
    const [a, b] = [assignment("a", 1), assignment("b", 1)];
    expect(documentDigest([a, b], [])).toBe(documentDigest([b, a], []));
    expect(documentDigest([a, b], [])).not.toBe(documentDigest([a, assignment("b", 2)], []));
    expect(documentDigest([a], [])).not.toBe(documentDigest([], []));
  });
});
