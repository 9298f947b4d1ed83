import type { ReportBatch } from "@bulkhead/contracts";
import {
  assignment,
  FakeClock,
  FakeControlPlane,
  hostId,
  instanceId,
  MemoryStorage,
  settle,
} from "@bulkhead/testkit/runtime";
import { describe, expect, test } from "vitest";
import { Journal, type ReportDraft } from "./journal.ts";
import { Reporter } from "./reporter.ts";

const draft = (attempt: number, detail: string | null = null): ReportDraft => ({
  instanceId: instanceId(1),
  epoch: assignment().epoch,
  attempt,
  generation: 1,
  state: "running",
  reason: null,
  detail,
  exit: null,
  resize: null,
  contractHeld: null,
  restarts: 0,
  at: "2026-01-01T00:00:00.000Z",
});

const fresh = async () => {
  const clock = new FakeClock();
  const storage = new MemoryStorage();
  const controlPlane = new FakeControlPlane();
  const { journal } = await Journal.open({ storage, clock, name: "j", newId: () => "first" });
  const reporter = new Reporter({ journal, controlPlane, clock, hostId, isolation: "container" });
  controlPlane.onReportAck((ack) => reporter.acknowledge(ack));
  const attempts = (batch: ReportBatch | undefined) => batch?.reports.map(({ attempt }) => attempt);
  return { clock, storage, controlPlane, reporter, attempts };
};

describe("reporter", () => {
  test("publishes at once, and only what is on disk", async () => {
    const { storage, controlPlane, reporter } = await fresh();
    reporter.report(draft(0));
    expect(controlPlane.batches).toEqual([]);
    await settle();
    expect(controlPlane.batches).toHaveLength(1);
    expect(storage.text("j")).toContain('"seq":1');
    expect(reporter.pending).toBe(0);
  });

  test("news that something follows travels with it", async () => {
    const { clock, controlPlane, reporter, attempts } = await fresh();
    reporter.report(draft(0), { soon: true });
    await settle();
    expect(controlPlane.batches).toEqual([]);
    reporter.report(draft(1));
    await settle();
    expect(controlPlane.batches.map((batch) => attempts(batch))).toEqual([[0, 1]]);
    reporter.report(draft(2), { soon: true });
    await clock.advance(10);
    expect(attempts(controlPlane.batches.at(-1))).toEqual([2]);
  });

  test("repeats every two seconds from the oldest on, until acknowledged", async () => {
    const { clock, controlPlane, reporter, attempts } = await fresh();
    controlPlane.acknowledging = false;
    reporter.report(draft(0));
    await settle();
    reporter.report(draft(1));
    await clock.advance(2_000);
    expect(controlPlane.batches.map((batch) => attempts(batch))).toEqual([[0], [0, 1], [0, 1]]);
    controlPlane.acknowledging = true;
    await clock.advance(2_000);
    expect(reporter.pending).toBe(0);
    const { length } = controlPlane.batches;
    await clock.advance(60_000);
    expect(controlPlane.batches).toHaveLength(length);
    expect(controlPlane.folded).toHaveLength(2);
  });

  test("a backlog does not travel again with each new report, and drains batch by batch", async () => {
    const { clock, controlPlane, reporter } = await fresh();
    controlPlane.reachable = false;
    for (let attempt = 0; attempt < 1_200; attempt += 1) {
      reporter.report(draft(attempt));
      if (attempt % 100 === 0) await settle();
    }
    controlPlane.reachable = true;
    await clock.advance(2_000);
    expect(reporter.pending).toBe(0);
    expect(controlPlane.batches.every(({ reports }) => reports.length <= 500)).toBe(true);
    expect(controlPlane.batches).toHaveLength(3);
    expect(controlPlane.folded.map(({ attempt }) => attempt)).toEqual(Array.from({ length: 1_200 }, (_, n) => n));
  });

  test("a batch fits a message even when every report is as long as it may be", async () => {
    const { clock, controlPlane, reporter } = await fresh();
    controlPlane.reachable = false;
    for (let attempt = 0; attempt < 400; attempt += 1) reporter.report(draft(attempt, "x".repeat(4_096)));
    await settle();
    controlPlane.reachable = true;
    await clock.advance(2_000);
    expect(reporter.pending).toBe(0);
    expect(Math.max(...controlPlane.batches.map((batch) => JSON.stringify(batch).length))).toBeLessThan(600_000);
  });

  test("with a full disk everything is still told", async () => {
    const { storage, controlPlane, reporter } = await fresh();
    storage.full = true;
    reporter.report(draft(0));
    await settle();
    expect(controlPlane.folded).toHaveLength(1);
  });
});
