import type { InstanceReason } from "@bulkhead/contracts";

/** Where the agent's own figures go; the app maps them to the metric catalogue. Calls must be cheap and must not throw. */
export interface AgentObserver {
  /** Assignment seen to entrypoint executed, or given up, in milliseconds. */
  instanceStarted(durationMs: number, outcome: "running" | InstanceReason): void;
  runEnded(reason: InstanceReason): void;
  journalPending(reports: number): void;
}

export const silentObserver: AgentObserver = {
  instanceStarted: () => undefined,
  runEnded: () => undefined,
  journalPending: () => undefined,
};
