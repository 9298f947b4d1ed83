import { fleetError, type HostId, type InstanceId, type SnapshotId } from "@bulkhead/contracts";
import type { OpenSnapshot } from "@bulkhead/inventory";
import { expect, test, vi } from "vitest";
import type { ControlPorts, Term } from "./ports.ts";
import { SnapshotSettler } from "./snapshot-settler.ts";

const minuteMs = 60_000;

const snapshot: OpenSnapshot = {
  id: "0198c0de-4444-7000-8000-000000000001" as SnapshotId,
  project: "default",
  instanceId: "i" as InstanceId,
  hostId: "h" as HostId,
  operationId: "o",
  traceId: null,
};
const underWay = (progress: string) => fleetError("SNAPSHOT_UNDER_WAY", progress);
const silent = fleetError("HOST_UNREACHABLE", "no answer");

/** A leader whose one host answers what a test says; resolves to what was written after a pass at that minute. */
const leader = (work: "wanted" | "doubted") => {
  let nowMs = 0;
  let answer: Error | object = {};
  const written: [what: string, told: string | null][] = [];
  let quiet = 0;
  let blip = false;
  const write =
    (what: string) =>
    async (_term: number, { progress, error }: { progress?: string; error?: { code: string } | null }) => {
      const failing = blip;
      blip = false;
      if (failing) throw fleetError("DATABASE_UNAVAILABLE", "gone");
      written.push([what, progress ?? error?.code ?? null]);
    };
  const ports = {
    bus: {
      request: async () => {
        if (answer instanceof Error) throw answer;
        return answer;
      },
    },
    store: {
      snapshotWork: async () => ({ wanted: [], doubted: [], doomed: [], [work]: [snapshot] }),
      recordSnapshotProgress: write("progress"),
      recordSnapshotTaken: write("taken"),
      recordSnapshotFailed: write("failed"),
      recordSnapshotVerified: write("verified"),
    },
    log: { debug: () => (quiet += 1) },
    nowMs: () => nowMs,
  } as unknown as ControlPorts;
  const settler = new SnapshotSettler(ports, { term: 7 } as Term, () => undefined);
  return async (minute: number, answered: Error | object, database: "well" | "blip" = "well"): Promise<unknown> => {
    // In a blip one write is lost, and the next one reaches the database.
    [nowMs, answer, blip] = [minute * minuteMs, answered, database === "blip"];
    // What is still under way is written, and then left for the next pass.
    const ended = (): number => written.filter(([what]) => what !== "progress").length + quiet;
    const before = ended();
    await settler.pass();
    await vi.waitFor(() => expect(ended()).toBeGreaterThan(before));
    return written.splice(0).at(-1);
  };
};

test("a host that reads for hours is asked until it is done", async () => {
  const pass = leader("doubted");
  for (const minute of [0, 9, 20, 31, 240]) {
    expect(await pass(minute, underWay(`${minute} MiB`))).toEqual(["progress", `${minute} MiB`]);
    // Now and then one question is lost.
    expect(await pass(minute + 5, silent)).toBeUndefined();
  }
  expect(await pass(250, {})).toEqual(["verified", null]);
});

test("a host that falls silent is given up ten minutes after it was heard last", async () => {
  const pass = leader("doubted");
  expect(await pass(0, silent)).toBeUndefined();
  expect(await pass(9, underWay("1 MiB"))).toEqual(["progress", "1 MiB"]);
  expect(await pass(18, silent)).toBeUndefined();
  expect(await pass(19, silent)).toEqual(["verified", "HOST_UNREACHABLE"]);
});

test("a snapshot whose memory takes long to write is waited for, too", async () => {
  const pass = leader("wanted");
  expect(await pass(0, underWay("its host takes it"))).toEqual(["progress", "its host takes it"]);
  expect(await pass(9, underWay("its host takes it"))).toEqual(["progress", "its host takes it"]);
  expect(await pass(18, fleetError("SNAPSHOT_NO_ROOM", "full"))).toEqual(["failed", "SNAPSHOT_NO_ROOM"]);
});

test.each(["wanted", "doubted"] as const)(
  "what a host has done is not undone by a blip of the database: %s",
  async (work) => {
    const pass = leader(work);
    expect(await pass(0, {}, "blip")).toBeUndefined();
    expect(await pass(1, {})).toEqual([work === "wanted" ? "taken" : "verified", null]);
  },
);

test("a blip of the database takes nothing of the time that a host has", async () => {
  const pass = leader("doubted");
  expect(await pass(0, underWay("1 MiB"), "blip")).toBeUndefined();
  expect(await pass(9, underWay("2 MiB"), "blip")).toBeUndefined();
  expect(await pass(18, silent)).toBeUndefined();
});
