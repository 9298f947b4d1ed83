import type { Assignment, HostId, SnapshotId } from "@bulkhead/contracts";
import type { Run, Runtime } from "@bulkhead/node";
import { expect } from "vitest";
import { begin, clear, failureOf, read } from "./suite-tools.ts";

interface Trial {
  readonly run: Run;
  /** of an instance that never ran */
  readonly another: Assignment;
  /** copies input to output */
  readonly cat: readonly string[];
}

/** What a snapshot promises of a runtime, and how that is tried. */
interface SnapshotPromise {
  readonly promise: string;
  readonly tried: (runtime: Runtime, trial: Trial) => Promise<void>;
}

const snapshotId = "0198c0de-4444-7000-8000-000000000001" as SnapshotId;

const expectAlive = async (run: Run, cat: readonly string[]): Promise<void> => {
  const session = await run.exec({ command: cat, tty: false });
  const output = read(session.stdout);
  session.stdin.end(`through ${run.assignment.name}\n`);
  expect(await output).toBe(`through ${run.assignment.name}\n`);
};

const copyOf = (assignment: Assignment, id: SnapshotId): Assignment => {
  const restoredFrom = { snapshotId: id, hostId: "0198c0de-1111-7000-8000-000000000001" as HostId };
  return { ...assignment, spec: { ...assignment.spec, vm: { ...assignment.spec.vm, restoredFrom } } };
};

const goesOnAsOthers: SnapshotPromise = {
  promise: "a snapshot is taken once, its run goes on, and what starts from it is another instance",
  tried: async (runtime, { run, another, cat }) => {
    const taken = await runtime.snapshot(run.key.instanceId, snapshotId);
    expect(taken.sizeBytes).toBeGreaterThan(0);
    expect(await runtime.snapshot(run.key.instanceId, snapshotId)).toEqual(taken);
    await runtime.verifySnapshot(snapshotId);
    await expectAlive(run, cat);
    const copy = await begin(runtime, copyOf(another, snapshotId));
    await expectAlive(copy, cat);
    await expect(runtime.removeSnapshot(snapshotId)).rejects.toMatchObject({ code: "SNAPSHOT_IN_USE" });
    await clear(runtime, copy);
    await runtime.removeSnapshot(snapshotId);
    await expect(runtime.verifySnapshot(snapshotId)).rejects.toMatchObject({ code: "NOT_FOUND" });
    expect(await failureOf(begin(runtime, copyOf(another, snapshotId)))).toMatchObject({ reason: "RuntimeFailed" });
    await runtime.remove(another.instanceId);
  },
};

const isRefused: SnapshotPromise = {
  promise: "a snapshot is refused, and the run goes on",
  tried: async (runtime, { run, cat }) => {
    const refused = runtime.snapshot(run.key.instanceId, snapshotId);
    await expect(refused).rejects.toMatchObject({ code: "SNAPSHOT_UNSUPPORTED" });
    await runtime.removeSnapshot(snapshotId);
    await expectAlive(run, cat);
  },
};

/** What a runtime has to promise: that what runs can be taken to files, or that this is refused. */
export const snapshotPromise = (snapshots: boolean): SnapshotPromise => (snapshots ? goesOnAsOthers : isRefused);
