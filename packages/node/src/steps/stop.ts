import { compareEpochs, type Assignment } from "@bulkhead/contracts";
import type { InstanceMemory, Step } from "@bulkhead/lifecycle";
import type { DrivenInstance } from "../driven-instance.ts";
import type { HeldRun } from "../instance-record.ts";
import { inSpan } from "../spans.ts";
import type { StepTools } from "../step-tools.ts";
import { conclude, remember } from "./ends.ts";
import { blankMemory, memoryOf, memoryOfRun } from "./memory.ts";

/** Grace where the spec names none, in milliseconds; the schema's default. */
const defaultGraceMs = 10_000;

/** Says so, stops, and waits until the end is known; the end itself is the next step. */
const end = async (
  instance: DrivenInstance,
  tools: StepTools,
  { held, graceMs }: { held: HeldRun; graceMs: number },
) => {
  const { record } = instance;
  const { key } = held.run;
  const attributes = { "bulkhead.instance.id": key.instanceId, "bulkhead.attempt": key.attempt };
  const traceparent = record.assignment?.traceparent;
  if (record.state !== "stopping") {
    record.state = "stopping";
    const memory = memoryOfRun(instance.memory, held.run);
    tools.reporter.report(record.draft({ state: "stopping" }, memory, tools.clock.now()), { soon: true });
  }
  await inSpan("agent.stop", { traceparent, attributes }, async () => {
    await instance.end(held.run, graceMs);
    held.ended ??= await held.run.ended;
  });
};

/** Ends a run, or says that there is none to end. */
export const stop = async (
  instance: DrivenInstance,
  tools: StepTools,
  step: Extract<Step, { bucket: "stop" }>,
): Promise<void> => {
  const { record } = instance;
  if (step.run !== null) {
    const held = record.held(step.run.epoch, step.run.attempt);
    if (held !== undefined) await end(instance, tools, { held, graceMs: step.graceMs });
    return;
  }
  const { assignment, lastEnd } = record;
  if (assignment === null) return;
  const memory = memoryOf(instance.memory, assignment.epoch) ?? blankMemory(assignment);
  const exit = lastEnd !== null && compareEpochs(lastEnd.epoch, assignment.epoch) === 0 ? lastEnd.exit : null;
  const current = { ...memory, restartRequest: Math.max(memory.restartRequest, assignment.restartRequest) };
  await conclude(instance, tools, { memory: current, reason: "StoppedByUser", detail: null, exit });
};

/** First half of a restart; the end that follows is recognised by the request, also by another agent. */
export const restart = async (instance: DrivenInstance, tools: StepTools, assignment: Assignment): Promise<void> => {
  const held = instance.record.adopted;
  if (held === undefined) return;
  await end(instance, tools, { held, graceMs: assignment.spec.stopGraceMs ?? defaultGraceMs });
};

/** Carries a tombstone out to the end: no trace of the instance is left, and the control plane is told. */
export const remove = async (
  instance: DrivenInstance,
  tools: StepTools,
  { tombstone, last }: Extract<Step, { bucket: "remove" }>,
): Promise<void> => {
  const { record } = instance;
  const { instanceId, epoch } = tombstone;
  if (last) await tools.runtime.remove(instanceId);
  const known = memoryOf(instance.memory, epoch) ?? blankMemory({ epoch, generation: 1, restartRequest: 0 });
  const memory: InstanceMemory = { ...known, phase: "gone", retryAtMs: null, settled: null };
  const waits = tools.reporter.waits(
    (report) => report.instanceId === instanceId && report.state === "gone" && compareEpochs(report.epoch, epoch) === 0,
  );
  if (!waits) {
    const end = record.lastEnd !== null && compareEpochs(record.lastEnd.epoch, epoch) === 0 ? record.lastEnd : null;
    const news = { reason: end?.reason ?? null, detail: end?.detail ?? null, exit: end?.exit ?? null };
    tools.reporter.report(record.draft({ state: "gone", ...news }, memory, tools.clock.now()));
    await tools.reporter.written();
  }
  await remember(tools, instance, memory);
  record.answer(epoch);
};
