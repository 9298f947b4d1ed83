import { rm } from "node:fs/promises";
import type { Ended, JailedRun } from "@bulkhead/node";
import { expect, test, vi } from "vitest";
import type { Engine } from "./engine/engine.ts";
import { MachineRun } from "./machine-run.ts";
import { machineAssignment } from "./testing/machine-assignment.ts";
import { runPlace } from "./testing/run-place.ts";

const ended: Ended = {
  exit: {
    exitCode: null,
    signal: 9,
    oomKilled: false,
    startedAt: "2026-01-01T00:00:00Z",
    finishedAt: "2026-01-01T00:00:00Z",
  },
  reason: "StoppedByUser",
  detail: null,
};

test("a machine is stopped although nothing can be noted of it", async () => {
  await using at = await runPlace();
  await rm(at.paths.run, { recursive: true });
  const end = Promise.withResolvers<Ended>();
  const jailed = {
    pid: null,
    paused: false,
    ended: end.promise,
    sharedCpus: () => ({ cpus: [], change: 0, settled: false }),
    onCpusChanged: null,
    stop: vi.fn(async () => end.resolve(ended)),
  };
  const run = new MachineRun({
    jailed: jailed as unknown as JailedRun,
    paths: at.paths,
    record: {
      assignment: machineAssignment(),
      process: { args: ["true"], env: [], cwd: "/", user: "0:0", stopSignal: 15 },
      engine: "kvm",
    },
    engine: { name: "kvm", standstill: null, holdsPlaces: false } as unknown as Engine,
    directoryOf: () => "/nowhere",
    released: () => undefined,
  });
  await run.stop(0);
  expect(jailed.stop).toHaveBeenCalledWith(0);
  expect(run.over).toBe(true);
});
