import { isDeepStrictEqual } from "node:util";
import type { Assignment, ResizeStatus } from "@bulkhead/contracts";
import type { InstanceMemory } from "@bulkhead/lifecycle";
import { checkContract } from "../contract-check.ts";
import type { DrivenInstance } from "../driven-instance.ts";
import type { HeldRun } from "../instance-record.ts";
import { textOf } from "../log.ts";
import type { ResizeOutcome } from "../runtime.ts";
import type { StepTools } from "../step-tools.ts";
import { remember } from "./ends.ts";
import { blankMemory, memoryOf, memoryOfRun } from "./memory.ts";

/** When a resize that had to wait is tried again, in milliseconds. */
const resizeRetryMs = 30_000;

const apply = async (held: HeldRun, assignment: Assignment): Promise<ResizeOutcome> => {
  const { resources } = assignment.spec;
  if (isDeepStrictEqual(held.appliedResources, resources)) return { outcome: "applied" };
  // Unknown until it succeeds: a resize that failed may have changed some limits.
  held.appliedResources = null;
  try {
    const outcome = await held.run.resize(resources);
    if (outcome.outcome === "applied") held.appliedResources = resources;
    return outcome;
  } catch (error) {
    return { outcome: "deferred", detail: textOf(error) };
  }
};

/** Brings a run to the assignment's generation, or notes it for the next start. */
export const resize = async (instance: DrivenInstance, tools: StepTools, assignment: Assignment): Promise<void> => {
  const { record } = instance;
  const { generation } = assignment;
  const held = record.adopted;
  if (held === undefined) {
    const memory = memoryOf(instance.memory, assignment.epoch) ?? blankMemory(assignment);
    const next: InstanceMemory = { ...memory, generation, resize: { generation, outcome: "applied" } };
    const { reason, detail } = memory.settled ?? { reason: null, detail: null };
    const exit = record.lastEnd?.exit ?? null;
    const news = { state: memory.settled?.state ?? "backoff", reason, detail, exit } as const;
    tools.reporter.report(record.draft(news, next, tools.clock.now()));
    await remember(tools, instance, next);
    return;
  }
  const outcome = await apply(held, assignment);
  const memory = memoryOfRun(instance.memory, held.run);
  const status: ResizeStatus = {
    generation,
    outcome: outcome.outcome,
    ...("detail" in outcome ? { detail: outcome.detail } : {}),
  };
  const next: InstanceMemory = {
    ...memory,
    resize: status,
    generation: outcome.outcome === "applied" ? generation : memory.generation,
    retryAtMs: outcome.outcome === "deferred" ? tools.clock.now() + resizeRetryMs : null,
  };
  const state = held.run.paused ? "paused" : "running";
  const news = !isDeepStrictEqual(memory.resize, status);
  if (news) tools.reporter.report(record.draft({ state }, next, tools.clock.now()));
  await remember(tools, instance, next);
  checkContract(instance, tools);
};

const change = async (instance: DrivenInstance, tools: StepTools, paused: boolean): Promise<void> => {
  const { record } = instance;
  const held = record.adopted;
  if (held === undefined) return;
  await (paused ? held.run.pause() : held.run.resume());
  record.state = paused ? "paused" : "running";
  tools.reporter.report(
    record.draft({ state: record.state }, memoryOfRun(instance.memory, held.run), tools.clock.now()),
  );
};

export const pause = (instance: DrivenInstance, tools: StepTools): Promise<void> => change(instance, tools, true);
export const resume = (instance: DrivenInstance, tools: StepTools): Promise<void> => change(instance, tools, false);
