import type { Assignment } from "@bulkhead/contracts";
import type { InstanceMemory } from "@bulkhead/lifecycle";
import { checkContract } from "../contract-check.ts";
import type { DrivenInstance } from "../driven-instance.ts";
import { textOf } from "../log.ts";
import { StartFailure, type Run } from "../runtime.ts";
import { inSpan, traceparentOf } from "../spans.ts";
import type { StepTools } from "../step-tools.ts";
import { conclude, remember } from "./ends.ts";
import { blankMemory, memoryOf } from "./memory.ts";

/** Memory of the attempt that begins now. Whoever asks for a start or restart gets a fresh budget of them. */
const nextAttempt = (known: InstanceMemory | null, assignment: Assignment): InstanceMemory => {
  const memory = memoryOf(known, assignment.epoch) ?? blankMemory(assignment);
  const asked = assignment.restartRequest > memory.restartRequest || memory.settled !== null;
  return {
    ...memory,
    phase: "starting",
    attempt: memory.attempt + 1,
    generation: assignment.generation,
    resize:
      assignment.generation !== memory.generation
        ? { generation: assignment.generation, outcome: "applied" }
        : memory.resize,
    restartRequest: Math.max(assignment.restartRequest, memory.restartRequest),
    retryAtMs: null,
    settled: null,
    ...(asked ? { restarts: 0, streak: 0 } : {}),
  };
};

interface Begun {
  readonly assignment: Assignment;
  readonly memory: InstanceMemory;
  readonly signal: AbortSignal;
}

/**
 * The image is fetched while the epoch is made durable; nothing starts before both are done. Null when that took so long
 * that the lease it began under is over: another host may have the instance by now.
 */
const launch = async (tools: StepTools, begun: Begun, began: () => void): Promise<Run | null> => {
  const { assignment, memory, signal } = begun;
  const [written, prepared] = await Promise.allSettled([
    tools.ledger.put(assignment.instanceId, memory),
    tools.runtime.prepare(assignment, signal),
  ]);
  if (prepared.status === "rejected") throw prepared.reason;
  if (written.status === "rejected") {
    throw new StartFailure("DiskFull", `the epoch could not be recorded: ${textOf(written.reason)}`, written.reason);
  }
  return tools.starts.run(async () => {
    signal.throwIfAborted();
    if (!tools.lease.holds(assignment)) return null;
    began();
    const key = { instanceId: assignment.instanceId, epoch: assignment.epoch, attempt: memory.attempt };
    return tools.runtime.start({ key, assignment }, signal);
  });
};

/** Starts the next attempt; a failure is reported and handled by policy, an interrupted start leaves no trace. */
export const start = async (
  instance: DrivenInstance,
  tools: StepTools,
  order: { assignment: Assignment; signal: AbortSignal },
): Promise<void> => {
  const { assignment, signal } = order;
  const { record } = instance;
  const beganMs = performance.now();
  const memory = nextAttempt(instance.memory, assignment);
  const attributes = { "bulkhead.instance.id": assignment.instanceId, "bulkhead.attempt": memory.attempt };
  let runtimeBegan = false;
  record.contractHeld = null;
  record.state = "starting";
  try {
    const started = await inSpan("agent.start", { traceparent: assignment.traceparent, attributes }, async (span) => {
      const traceparent = traceparentOf(span, assignment.traceparent);
      const trace = traceparent === undefined ? {} : { traceparent };
      tools.reporter.report(record.draft({ state: "starting", ...trace }, memory, tools.clock.now()), { soon: true });
      const run = await launch(tools, { assignment, memory, signal }, () => (runtimeBegan = true));
      if (run === null) return false;
      const held = instance.hold(run, { adopted: true });
      held.appliedResources = assignment.spec.resources;
      record.state = run.paused ? "paused" : "running";
      const running: InstanceMemory = { ...memory, phase: "running" };
      tools.reporter.report(record.draft({ state: record.state, ...trace }, running, tools.clock.now()));
      void remember(tools, instance, running);
      return true;
    });
    if (!started) {
      // A number is used up only by a run.
      await remember(tools, instance, { ...memory, attempt: memory.attempt - 1 });
      return;
    }
  } catch (error) {
    if (signal.aborted) return;
    const failure = error instanceof StartFailure ? error : new StartFailure("RuntimeFailed", textOf(error), error);
    tools.observer.instanceStarted(performance.now() - beganMs, failure.reason);
    tools.log.warn({ instanceId: assignment.instanceId, reason: failure.reason, err: failure }, "instance not started");
    await conclude(instance, tools, {
      // A number is used up only by a run: fetching an image again is not one.
      memory: runtimeBegan ? memory : { ...memory, attempt: memory.attempt - 1 },
      reason: failure.reason,
      detail: failure.message,
      exit: null,
    });
    return;
  }
  const durationMs = performance.now() - beganMs;
  tools.observer.instanceStarted(durationMs, "running");
  tools.log.info({ instanceId: assignment.instanceId, attempt: memory.attempt, durationMs }, "instance started");
  checkContract(instance, tools);
};
