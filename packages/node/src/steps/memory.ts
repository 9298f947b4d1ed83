import { compareEpochs, type Assignment, type Epoch } from "@bulkhead/contracts";
import type { InstanceMemory } from "@bulkhead/lifecycle";
import type { Run } from "../runtime.ts";

/** Memory of an epoch of which nothing ran yet. */
export const blankMemory = (
  assignment: Pick<Assignment, "epoch" | "generation" | "restartRequest">,
): InstanceMemory => ({
  epoch: assignment.epoch,
  attempt: -1,
  phase: "seen",
  generation: assignment.generation,
  restartRequest: assignment.restartRequest,
  restarts: 0,
  streak: 0,
  retryAtMs: null,
  settled: null,
  resize: null,
});

/** `memory` where it is about this epoch. */
export const memoryOf = (memory: InstanceMemory | null, epoch: Epoch): InstanceMemory | null =>
  memory !== null && compareEpochs(memory.epoch, epoch) === 0 ? memory : null;

/** Memory of a run that the runtime shows, made from what it was started with where the ledger knows nothing. */
export const memoryOfRun = (memory: InstanceMemory | null, run: Run): InstanceMemory => ({
  ...(memoryOf(memory, run.key.epoch) ?? blankMemory({ ...run.assignment, epoch: run.key.epoch })),
  attempt: run.key.attempt,
});
