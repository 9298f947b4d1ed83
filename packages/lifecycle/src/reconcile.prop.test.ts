import { compareEpochs, type Assignment, type Epoch, type InstanceId, type Tombstone } from "@bulkhead/contracts";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import {
  buckets,
  decide,
  reconcile,
  type ActualRun,
  type InstanceMemory,
  type InstanceView,
  type Step,
} from "./index.ts";
import { viewsOf, type Actual, type Desired } from "./testing/views.ts";

const ids = ["a", "b", "c", "d"].map((end) => `0198c0de-0000-7000-8000-00000000000${end}` as InstanceId);
const epoch: fc.Arbitrary<Epoch> = fc.record({
  era: fc.integer({ min: 1, max: 2 }),
  n: fc.integer({ min: 1, max: 3 }),
});
const small = fc.integer({ min: 0, max: 2 });

const assignment: fc.Arbitrary<Assignment> = fc.record({
  instanceId: fc.constantFrom(...ids),
  workloadId: fc.constant("0198c0de-0000-7000-8000-000000000002" as Assignment["workloadId"]),
  project: fc.constant("default"),
  name: fc.constant("cache-0"),
  isolation: fc.constant("container" as const),
  generation: fc.integer({ min: 1, max: 3 }),
  epoch,
  desired: fc.constantFrom("running", "paused", "stopped"),
  restartRequest: small,
  imageDigest: fc.constant(`sha256:${"0".repeat(64)}` as Assignment["imageDigest"]),
  spec: fc.record({
    image: fc.constant("redis"),
    resources: fc.constant({ cpuMillis: 100, memoryBytes: 2 ** 26 }),
    onLoss: fc.constantFrom("keep", "replace"),
  }),
  cpuIds: fc.constant([]),
});
const tombstone: fc.Arbitrary<Tombstone> = fc.record({ instanceId: fc.constantFrom(...ids), epoch, graceMs: small });
const run: fc.Arbitrary<ActualRun> = fc.record({
  epoch,
  attempt: small,
  ended: fc.boolean(),
  paused: fc.boolean(),
  adopted: fc.boolean(),
});
const memory: fc.Arbitrary<InstanceMemory> = fc.record({
  epoch,
  attempt: small,
  phase: fc.constantFrom("seen", "starting", "running", "ended", "gone"),
  generation: fc.integer({ min: 1, max: 3 }),
  restartRequest: small,
  restarts: small,
  streak: small,
  retryAtMs: fc.option(fc.integer({ min: 0, max: 20 })),
  settled: fc.option(
    fc.record({
      state: fc.constantFrom("stopped", "failed"),
      reason: fc.constantFrom("StoppedByUser", "Exited"),
      detail: fc.constant(null),
    }),
  ),
  resize: fc.option(
    fc.record({
      generation: fc.integer({ min: 1, max: 3 }),
      outcome: fc.constantFrom("applied", "deferred", "infeasible"),
    }),
  ),
});

const desired: fc.Arbitrary<Desired> = fc.record({
  assignments: fc.uniqueArray(assignment, { selector: (item) => item.instanceId, maxLength: 4 }),
  tombstones: fc.uniqueArray(tombstone, {
    selector: (item) => `${item.instanceId} ${item.epoch.era}.${item.epoch.n}`,
    maxLength: 6,
  }),
});
const actual: fc.Arbitrary<Actual> = fc
  .record({
    runs: fc.dictionary(fc.constantFrom(...ids), fc.array(run, { minLength: 1, maxLength: 2 })),
    memory: fc.dictionary(fc.constantFrom(...ids), memory),
    answered: fc.boolean(),
    leaseHeld: fc.boolean(),
  })
  .map((fields) => ({
    runs: new Map(Object.entries(fields.runs)) as unknown as Map<InstanceId, ActualRun[]>,
    memory: new Map(Object.entries(fields.memory)) as unknown as Map<InstanceId, InstanceMemory>,
    answered: () => fields.answered,
    leaseHeld: () => fields.leaseHeld,
  }));

test("every instance that either side knows is in exactly one bucket", () => {
  fc.assert(
    fc.property(desired, actual, fc.integer({ min: 0, max: 20 }), (wanted, found, nowMs) => {
      const result = reconcile(viewsOf(wanted, found), nowMs);
      const placed = buckets.flatMap((bucket) => [...result[bucket].keys()]);
      expect(placed.toSorted()).toEqual(
        viewsOf(wanted, found)
          .map(({ instanceId }) => instanceId)
          .toSorted(),
      );
    }),
  );
});

/** Steps that break the rule, of all instances of a host. */
const offenders = (
  { wanted, found, nowMs }: { wanted: Desired; found: Actual; nowMs: number },
  breaks: (view: InstanceView, step: Step) => boolean,
): Step[] =>
  viewsOf(wanted, found).flatMap((view) => {
    const step = decide(view, nowMs);
    return breaks(view, step) ? [step] : [];
  });

const host = fc.record({ wanted: desired, found: actual, nowMs: fc.integer({ min: 0, max: 20 }) });

test("a living run is touched by an end only for its own tombstone, desired stopped, or a restart request", () => {
  const breaks = (view: InstanceView, step: Step): boolean => {
    if (step.bucket === "restart") return step.assignment.restartRequest <= (view.memory?.restartRequest ?? -1);
    if (step.bucket !== "stop" || step.run === null) return false;
    const { epoch } = step.run;
    const ordered = view.tombstones.some((item) => compareEpochs(item.epoch, epoch) === 0);
    return !ordered && !(view.assignment?.desired === "stopped" && compareEpochs(view.assignment.epoch, epoch) === 0);
  };
  fc.assert(
    fc.property(host, (given) => {
      expect(offenders(given, breaks)).toEqual([]);
    }),
  );
});

test("nothing of an instance starts while a run of it is there, nor with an epoch older than the highest seen", () => {
  const breaks = (view: InstanceView, step: Step): boolean => {
    if (step.bucket !== "start") return false;
    const older = view.memory !== null && compareEpochs(step.assignment.epoch, view.memory.epoch) < 0;
    const unguarded = step.assignment.spec.onLoss === "replace" && !view.leaseHeld;
    return view.runs.length > 0 || older || unguarded;
  };
  fc.assert(
    fc.property(host, (given) => {
      expect(offenders(given, breaks)).toEqual([]);
    }),
  );
});

test("an empty document ends nothing", () => {
  fc.assert(
    fc.property(actual, fc.integer({ min: 0, max: 20 }), (found, nowMs) => {
      const result = reconcile(viewsOf({ assignments: [], tombstones: [] }, found), nowMs);
      expect(result.unknown.size).toBe(found.runs.size);
    }),
  );
});
