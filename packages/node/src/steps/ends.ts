import {
  compareEpochs,
  storableText,
  type Assignment,
  type ExitStatus,
  type InstanceReason,
} from "@bulkhead/contracts";
import { afterEnd, type ActualRun, type InstanceMemory } from "@bulkhead/lifecycle";
import type { DrivenInstance } from "../driven-instance.ts";
import type { StepTools } from "../step-tools.ts";
import { checkContract } from "../contract-check.ts";
import { detailMax } from "../report-text.ts";
import { blankMemory, memoryOf, memoryOfRun } from "./memory.ts";

export interface End {
  readonly memory: InstanceMemory;
  readonly reason: InstanceReason;
  readonly detail: string | null;
  readonly exit: ExitStatus | null;
}

/** How long a run lasted, in milliseconds. */
const lastedMs = (exit: ExitStatus | null): number =>
  exit === null ? 0 : Math.max(Date.parse(exit.finishedAt) - Date.parse(exit.startedAt), 0);

/** Reports an end with what its restart policy makes of it, and remembers that. */
export const conclude = async (instance: DrivenInstance, tools: StepTools, end: End): Promise<void> => {
  const { memory, reason, exit } = end;
  const { record } = instance;
  const answer = afterEnd({
    policy: record.assignment?.spec.restart,
    reason,
    // Half of what a report takes: what is made of the end here is said around it.
    detail: end.detail === null ? null : storableText(end.detail, detailMax / 2),
    exitCode: exit?.exitCode ?? null,
    ranMs: lastedMs(exit),
    restarts: memory.restarts,
    streak: memory.streak,
  });
  const nowMs = tools.clock.now();
  const ended = { ...memory, phase: "ended" } as const;
  const next: InstanceMemory =
    answer.kind === "settled"
      ? { ...ended, retryAtMs: null, settled: { state: answer.state, reason: answer.reason, detail: answer.detail } }
      : {
          ...ended,
          retryAtMs: nowMs + answer.delayMs,
          restarts: answer.restarts,
          streak: answer.streak,
          settled: null,
        };
  record.state = answer.state;
  tools.reporter.report(
    record.draft({ state: answer.state, reason: answer.reason, detail: answer.detail, exit }, next, nowMs),
  );
  // In this order: a crash in between repeats the report, the other way round it would lose it.
  await tools.reporter.written();
  await remember(tools, instance, next);
};

/** Remembers; a disk that refuses is the ledger's problem to show and to repeat, not a reason to stand still. */
export const remember = async (tools: StepTools, instance: DrivenInstance, memory: InstanceMemory): Promise<void> => {
  const known = instance.memory;
  if (known !== null && compareEpochs(memory.epoch, known.epoch) < 0) return;
  await tools.ledger.put(instance.record.instanceId, memory).catch(() => undefined);
};

/**
 * A control plane that was restored counts restart requests from an older number; what it asks from now on must not be
 * taken for something done long ago.
 */
export const forgetRequests = async (instance: DrivenInstance, tools: StepTools): Promise<void> => {
  const { assignment } = instance.record;
  const memory = assignment === null ? null : memoryOf(instance.memory, assignment.epoch);
  if (assignment === null || memory === null || memory.restartRequest <= assignment.restartRequest) return;
  await remember(tools, instance, { ...memory, restartRequest: assignment.restartRequest });
};

/** Takes a living run that this agent did not start under its care and says that it runs. */
export const adopt = async (instance: DrivenInstance, tools: StepTools, actual: ActualRun): Promise<void> => {
  const { record } = instance;
  const held = record.held(actual.epoch, actual.attempt);
  if (held === undefined) return;
  const memory: InstanceMemory = { ...memoryOfRun(instance.memory, held.run), phase: "running", settled: null };
  held.adopted = true;
  // The document may have changed while nobody was here.
  instance.shares.notice();
  await remember(tools, instance, memory);
  record.state = held.run.paused ? "paused" : "running";
  tools.reporter.report(record.draft({ state: record.state }, memory, tools.clock.now()));
  tools.log.info({ instanceId: record.instanceId, epoch: actual.epoch, attempt: actual.attempt }, "instance adopted");
  checkContract(instance, tools);
};

/** Takes an end into the books, once, and frees what the run held. */
export const settle = async (instance: DrivenInstance, tools: StepTools, actual: ActualRun): Promise<void> => {
  const { record } = instance;
  const held = record.held(actual.epoch, actual.attempt);
  if (held === undefined || held.ended === null) return;
  const { exit, detail } = held.ended;
  const known = memoryOf(instance.memory, actual.epoch);
  const told = known !== null && known.attempt >= actual.attempt && (known.phase === "ended" || known.phase === "gone");
  const ordered = record.tombstones.some(({ epoch }) => compareEpochs(epoch, actual.epoch) === 0);
  const { assignment } = record;
  const stopWanted = ordered || assignment?.desired === "stopped";
  const reason: InstanceReason = stopWanted ? "StoppedByUser" : held.ended.reason;
  record.lastEnd = { epoch: actual.epoch, exit, reason, detail };
  if (!told) {
    tools.observer.runEnded(reason);
    const memory = memoryOfRun(instance.memory, held.run);
    if (ordered) await remember(tools, instance, { ...memory, phase: "ended", retryAtMs: null });
    else if (!stopWanted && assignment !== null && assignment.restartRequest > memory.restartRequest) {
      const next: InstanceMemory = { ...memory, phase: "ended", retryAtMs: null, settled: null };
      record.state = "stopping";
      const news = { state: "stopping", reason: "StoppedByUser", detail: "restart asked", exit } as const;
      tools.reporter.report(record.draft(news, next, tools.clock.now()));
      await tools.reporter.written();
      await remember(tools, instance, next);
    } else await conclude(instance, tools, { memory, reason, detail, exit });
  }
  await held.run.release();
  record.drop(held);
};

/** A run that was there, and of which the runtime knows nothing any more. */
export const lose = async (instance: DrivenInstance, tools: StepTools, assignment: Assignment): Promise<void> => {
  const memory = memoryOf(instance.memory, assignment.epoch) ?? blankMemory(assignment);
  tools.observer.runEnded("Vanished");
  const detail = `the runtime no longer knows attempt ${memory.attempt}`;
  await conclude(instance, tools, { memory, reason: "Vanished", detail, exit: null });
};
