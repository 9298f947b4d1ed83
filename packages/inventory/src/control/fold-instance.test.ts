import { instanceStates, type InstanceMachine, type InstanceReport } from "@bulkhead/contracts";
import { canMove } from "@bulkhead/lifecycle";
import { describe, expect, test } from "vitest";
import { foldInstance, type InstanceRow } from "./fold-instance.ts";

const row: InstanceRow = {
  id: "i",
  project: "default",
  workloadId: "w",
  name: "web-0",
  isolation: "container",
  hostId: "h",
  era: 1,
  epochN: 2,
  generation: 1,
  seenGeneration: 0,
  state: "starting",
  attempt: 1,
  restarts: 0,
  reason: null,
  detail: null,
  exit: null,
  resize: null,
  contractHeld: null,
  machine: null,
  startedAt: null,
  traceparent: "00-aaaa-bbbb-01",
};

const report = (changes: Partial<InstanceReport> = {}): InstanceReport =>
  ({
    seq: 1,
    journal: "j",
    instanceId: "i",
    epoch: { era: 1, n: 2 },
    attempt: 1,
    generation: 1,
    state: "running",
    reason: null,
    detail: null,
    exit: null,
    resize: null,
    contractHeld: null,
    restarts: 0,
    at: "2026-01-01T00:00:00.000Z",
    ...changes,
  }) as InstanceReport;

const changed = (from: InstanceRow, with_: InstanceReport) => {
  const folded = foldInstance(from, with_);
  if (folded.kind !== "changed") throw new Error(`was ${folded.kind}`);
  return folded;
};

describe("foldInstance", () => {
  test("running sets the start and tells of it, with the trace of the request", () => {
    const { row: next, events } = changed(row, report());
    expect(next).toMatchObject({ state: "running", startedAt: "2026-01-01T00:00:00.000Z", seenGeneration: 1 });
    expect(events).toMatchObject([
      { type: "instance.state", traceId: "aaaa", data: { name: "web-0", state: "running", attempt: 1 } },
    ]);
  });

  test("the same report again changes nothing and tells nothing", () => {
    const once = changed(row, report()).row;
    expect(changed(once, report())).toEqual({ kind: "changed", row: once, events: [] });
  });

  test.each([
    ["another epoch", report({ epoch: { era: 1, n: 1 } })],
    ["another era", report({ epoch: { era: 2, n: 2 } })],
    ["an earlier attempt", report({ attempt: 0 })],
  ])("%s is outdated", (_name, old) => {
    expect(foldInstance(row, old)).toEqual({ kind: "outdated" });
  });

  test("only the moves of the lifecycle's table are written", () => {
    for (const from of instanceStates) {
      for (const to of instanceStates) {
        const { kind } = foldInstance({ ...row, state: from }, report({ state: to }));
        expect(kind, `${from} to ${to}`).toBe(canMove(from, to) ? "changed" : "illegal");
      }
    }
  });

  test("a later attempt has a later start; its exit stays until there is a new one", () => {
    const exit = { exitCode: 1, signal: null, oomKilled: false, startedAt: "x", finishedAt: "y" };
    const failed = changed(row, report({ state: "backoff", reason: "Exited", exit })).row;
    const again = changed(failed, report({ attempt: 2, restarts: 1, at: "2026-01-01T00:01:00.000Z" })).row;
    expect(again).toMatchObject({ attempt: 2, restarts: 1, exit, reason: null, startedAt: "2026-01-01T00:01:00.000Z" });
  });

  test("resize and contract are told when they change, not otherwise", () => {
    const resize = { generation: 2, outcome: "applied" } as const;
    const first = changed({ ...row, state: "running" }, report({ generation: 2, resize, contractHeld: true }));
    expect(first.events.map((event) => event.type)).toEqual(["instance.resized", "instance.contract"]);
    expect(first.row).toMatchObject({ seenGeneration: 2, contractHeld: true, resize });
    expect(changed(first.row, report({ generation: 2, resize, contractHeld: true })).events).toEqual([]);
    expect(changed(first.row, report({ contractHeld: false })).events).toMatchObject([{ data: { held: false } }]);
  });

  test("what runs a machine stays until another run says otherwise", () => {
    const said: InstanceMachine = {
      engine: "qemu",
      kernel: "6.1.0",
      cpus: 1,
      cpuIds: [],
      pinned: false,
      memoryPolicy: "normal",
      hugepages: false,
    };
    const first = changed(row, report({ machine: said }));
    expect(first.row.machine).toEqual(said);
    const quiet = changed(first.row, report({ state: "starting", attempt: 2 }));
    expect(quiet.row.machine).toEqual(said);
    const other = { ...said, engine: "kvm" } as const;
    expect(changed(quiet.row, report({ attempt: 2, machine: other })).row.machine).toEqual(other);
  });

  test("gone is for the assignment, whatever the row says", () => {
    expect(foldInstance(row, report({ state: "gone", epoch: { era: 1, n: 1 } }))).toEqual({
      kind: "gone",
      epoch: { era: 1, n: 1 },
    });
  });
});
