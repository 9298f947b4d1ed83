import type { Bus } from "@bulkhead/bus";
import { subjects, type Isolation } from "@bulkhead/contracts";
import type { ControlPlane } from "@bulkhead/node";

/** The agent's port to its control plane, on this host's and kind's own subjects. */
export const busControlPlane = (bus: Bus, host: { hostId: string; isolation: Isolation }): ControlPlane => ({
  fetchDesired: (have) => bus.request(subjects.fetchDesired, host, { have }),
  heartbeat: (heartbeat) => bus.publish(subjects.heartbeat, host, heartbeat),
  report: (batch) => bus.publish(subjects.report, host, batch),
  usage: (batch) => bus.publish(subjects.usage, host, batch),
  onChanged: (listener) => bus.subscribe(subjects.desiredChanged, host, listener),
  onLease: (listener) => bus.subscribe(subjects.lease, host, listener),
  onReportAck: (listener) => bus.subscribe(subjects.reportAck, host, listener),
  onExec: (handler) =>
    bus.respond(subjects.openExec, host, async (open, context) => {
      await handler(open, context);
      return {};
    }),
  onLogs: (handler) =>
    bus.respond(subjects.openLogs, host, async (open, context) => {
      await handler(open, context);
      return {};
    }),
  onSignal: (handler) =>
    bus.respond(subjects.signal, host, async (signal, context) => {
      await handler(signal, context);
      return {};
    }),
});
