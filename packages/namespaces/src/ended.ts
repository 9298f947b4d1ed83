import { reasonOf } from "@bulkhead/lifecycle";
import type { ExitRecord } from "@bulkhead/native-namespaces";
import type { Ended } from "@bulkhead/node";
import { signalName } from "./signals.ts";

/** What is known beside the shim's own record. */
export interface EndContext {
  readonly stopWanted: boolean;
  readonly memoryBytes: number;
  readonly leaseMs: number | null;
}

const isoOf = (unixMs: number): string => new Date(unixMs).toISOString();

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

const detailOf = (record: ExitRecord, context: EndContext): string => {
  if (record.leaseExpired) return `ended itself: no contact with the fleet for ${context.leaseMs ?? 0} ms`;
  if (record.oomKilled) return `killed by the kernel at its memory limit of ${mebibytes(context.memoryBytes)}`;
  if (record.signal !== null) return `ended by ${signalName(record.signal)}`;
  return `exited with code ${record.exitCode ?? 0}`;
};

/** How a run ended, from its shim's exit record. */
export const endedFrom = (record: ExitRecord, context: EndContext): Ended => ({
  exit: {
    exitCode: record.exitCode,
    signal: record.signal,
    oomKilled: record.oomKilled,
    startedAt: isoOf(record.startedAtUnixMs),
    finishedAt: isoOf(record.finishedAtUnixMs),
  },
  reason: reasonOf({
    exitCode: record.exitCode,
    signal: record.signal,
    oomKilled: record.oomKilled,
    stopWanted: context.stopWanted,
    leaseExpired: record.leaseExpired,
  }),
  detail: detailOf(record, context),
});

/** How a run ended whose shim left no record: with the machine's restart, or because somebody killed the shim. */
export const endedWithoutRecord = (
  reason: "HostRebooted" | "Vanished",
  times: { startedAt: string; seenAtUnixMs: number },
): Ended => ({
  exit: {
    exitCode: null,
    signal: null,
    oomKilled: false,
    startedAt: times.startedAt,
    finishedAt: isoOf(times.seenAtUnixMs),
  },
  reason,
  detail:
    reason === "HostRebooted"
      ? "the host restarted; the exit code is not known"
      : "its shim was killed from outside; what was left of it was ended, the exit code is not known",
});
