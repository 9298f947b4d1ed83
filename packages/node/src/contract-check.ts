import type { DrivenInstance } from "./driven-instance.ts";
import type { StepTools } from "./step-tools.ts";

/** Compares what was promised with what the kernel enforces, and reports when the answer changed. */
export const checkContract = (instance: DrivenInstance, tools: StepTools): void => {
  const { record, memory } = instance;
  const held = record.adopted;
  if (held === undefined || memory === null) return;
  let check;
  try {
    check = held.run.checkContract();
  } catch (error) {
    // Mostly a run that ends at this moment; its end is reported by itself.
    tools.log.debug({ instanceId: record.instanceId, err: error }, "contract not checked");
    return;
  }
  if (check.held === record.contractHeld) return;
  record.contractHeld = check.held;
  const detail = check.held ? null : `not enforced as promised: ${check.violations.join("; ")}`;
  if (!check.held) tools.log.warn({ instanceId: record.instanceId, violations: check.violations }, "contract broken");
  const state = held.run.paused ? "paused" : "running";
  tools.reporter.report(record.draft({ state, detail }, memory, tools.clock.now()), { soon: true });
};
