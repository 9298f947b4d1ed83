import type { TSchema } from "typebox";
import { Value } from "typebox/value";
import { describe, expect, test } from "vitest";
import { Heartbeat } from "./agent.ts";
import { InstanceReport } from "./event.ts";

const id = "018f0000-0000-7000-8000-000000000000";
const report = {
  seq: 1,
  journal: "j",
  instanceId: id,
  epoch: { era: 1, n: 1 },
  attempt: 0,
  generation: 1,
  state: "running",
  reason: null,
  detail: null,
  exit: null,
  resize: null,
  contractHeld: null,
  restarts: 0,
  at: "2026-01-01T00:00:00.000Z",
};
const capacity = { cpuMillis: 4_000, memoryBytes: 2 ** 33, cpuCount: 4, instancesMax: 100 };
const facts = {
  hostname: "h",
  kernel: "6.1.0",
  architecture: "x86_64",
  cgroupMode: "v2",
  capacity,
  enforceable: [],
  mountAllowList: [],
  problems: [],
};
const heartbeat = {
  hostId: id,
  isolation: "container",
  bootId: "b",
  sentAtBoottimeNs: "1",
  position: { clusterId: id, era: 1, version: 1 },
  digest: null,
  facts,
  instances: 0,
  unknown: [{ instanceId: id, name: "a", epoch: { era: 1, n: 1 } }],
  highestEra: 1,
};
const where = (schema: TSchema, value: unknown) =>
  [...Value.Errors(schema, value)].map(({ instancePath }) => instancePath);
const unknown = (n: number) => [{ instanceId: id, name: "a", epoch: { era: 1, n } }];

describe("what no column holds", () => {
  test.each<[string, object]>([
    ["/seq", { seq: 2 ** 53 }],
    ["/attempt", { attempt: 2 ** 31 }],
    ["/generation", { generation: 1e300 }],
    ["/restarts", { restarts: 2 ** 31 }],
    ["/epoch/n", { epoch: { era: 1, n: 2 ** 31 } }],
  ])("is refused in a report: %s", (pointer, changes) => {
    expect(where(InstanceReport, report)).toEqual([]);
    expect(where(InstanceReport, { ...report, ...changes })).toContain(pointer);
  });

  test.each<[string, object]>([
    ["/facts/capacity/cpuMillis", { facts: { ...facts, capacity: { ...capacity, cpuMillis: 2 ** 31 } } }],
    ["/facts/capacity/memoryBytes", { facts: { ...facts, capacity: { ...capacity, memoryBytes: 1e300 } } }],
    ["/bootId", { bootId: "b".repeat(256) }],
  ])("is refused in a heartbeat: %s", (pointer, changes) => {
    expect(where(Heartbeat, heartbeat)).toEqual([]);
    expect(where(Heartbeat, { ...heartbeat, ...changes })).toContain(pointer);
  });

  // Ours go on from there: the next number has to fit as well.
  test.each<[string, object]>([
    ["/position/version", { position: { ...heartbeat.position, version: 2 ** 53 - 1 } }],
    ["/position/era", { position: { ...heartbeat.position, era: 2 ** 31 - 1 } }],
    ["/highestEra", { highestEra: 2 ** 31 - 1 }],
    ["/unknown/0/epoch/n", { unknown: unknown(2 ** 31 - 1) }],
  ])("is far from what an agent may claim: %s", (pointer, changes) => {
    expect(where(Heartbeat, { ...heartbeat, ...changes })).toContain(pointer);
  });
});
