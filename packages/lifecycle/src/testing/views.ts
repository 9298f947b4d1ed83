import { compareEpochs, type Assignment, type InstanceId, type Tombstone } from "@bulkhead/contracts";
import type { ActualRun, InstanceMemory, InstanceView } from "../decide.ts";

export interface Desired {
  readonly assignments: readonly Assignment[];
  readonly tombstones: readonly Tombstone[];
}

/** What is, and what the agent remembers. Instances that only this side knows are kept. */
export interface Actual {
  readonly runs: ReadonlyMap<InstanceId, readonly ActualRun[]>;
  readonly memory: ReadonlyMap<InstanceId, InstanceMemory>;
  readonly answered: (tombstone: Tombstone) => boolean;
  readonly leaseHeld: (assignment: Assignment) => boolean;
}

/** Views of all instances that either side knows, tombstones oldest epoch first. */
export const viewsOf = (desired: Desired, actual: Actual): InstanceView[] => {
  const assignments = new Map(desired.assignments.map((assignment) => [assignment.instanceId, assignment]));
  const tombstones = Map.groupBy(desired.tombstones, ({ instanceId }) => instanceId);
  const ids = new Set([...assignments.keys(), ...tombstones.keys(), ...actual.runs.keys()]);
  return [...ids].map((instanceId) => {
    const assignment = assignments.get(instanceId) ?? null;
    return {
      instanceId,
      assignment,
      tombstones: (tombstones.get(instanceId) ?? [])
        .toSorted((a, b) => compareEpochs(a.epoch, b.epoch))
        .map((tombstone) => ({ ...tombstone, answered: actual.answered(tombstone) })),
      runs: actual.runs.get(instanceId) ?? [],
      memory: actual.memory.get(instanceId) ?? null,
      leaseHeld: assignment !== null && actual.leaseHeld(assignment),
    };
  });
};
