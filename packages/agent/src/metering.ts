import type { Isolation } from "@bulkhead/contracts";
import type { AgentObserver } from "@bulkhead/node";
import type { Meters } from "@bulkhead/telemetry";

/** The agent's own figures as rows of the metric catalogue. */
export const meteringObserver = (meters: Meters, isolation: Isolation): AgentObserver => ({
  instanceStarted: (durationMs, outcome) =>
    meters.instanceStartDuration.record(durationMs / 1000, { isolation, outcome }),
  runEnded: (reason) => meters.instanceExits.add(1, { isolation, reason }),
  journalPending: (reports) => meters.agentJournalPending.set(reports, { isolation }),
});
