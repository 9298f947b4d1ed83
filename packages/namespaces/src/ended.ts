import type { OomKill } from "@bulkhead/contracts";
import { reasonOf } from "@bulkhead/lifecycle";
import { readExit, type ExitRecord } from "@bulkhead/native-namespaces";
import { signalName, type Ended } from "@bulkhead/node";

/** What is known beside the shim's own record. */
export interface EndContext {
  readonly stopWanted: boolean;
  /** asked when the kernel ended it for memory */
  readonly oom: () => OomKill;
  readonly leaseMs: number | null;
}

const isoOf = (unixMs: number): string => new Date(unixMs).toISOString();

const mebibytes = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

const oomDetail = ({ limitBytes, peakBytes, kills, processName, processRssBytes }: OomKill): string => {
  const held = processRssBytes === null ? "" : `, which held ${mebibytes(processRssBytes)}`;
  return [
    `killed by the kernel at its memory limit of ${mebibytes(limitBytes)}`,
    ...(processName === null ? [] : [`the last process was ${JSON.stringify(processName)}${held}`]),
    ...(peakBytes === 0 ? [] : [`at most ${mebibytes(peakBytes)} were in use`]),
    ...(kills < 2 ? [] : [`${kills} processes were killed in this run`]),
  ].join("; ");
};

const detailOf = (record: ExitRecord, context: EndContext, oom: OomKill | null): string => {
  if (record.leaseExpired) return `ended itself: no contact with the fleet for ${context.leaseMs ?? 0} ms`;
  if (oom !== null) return oomDetail(oom);
  if (record.signal !== null) return `ended by ${signalName(record.signal)}`;
  return `exited with code ${record.exitCode ?? 0}`;
};

/** How a run ended, from its shim's exit record. */
export const endedFrom = (record: ExitRecord, context: EndContext): Ended => {
  const oom = record.oomKilled ? context.oom() : null;
  return {
    exit: {
      exitCode: record.exitCode,
      signal: record.signal,
      oomKilled: record.oomKilled,
      ...(oom === null ? {} : { oom }),
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
    detail: detailOf(record, context, oom),
  };
};

/** The same from the record in its directory; null when there is none, or a damaged one, which tells as little. */
export const recordedEnd = (runDir: string, context: EndContext): Ended | null => {
  try {
    const record = readExit(runDir);
    return record === null ? null : endedFrom(record, context);
  } catch {
    return null;
  }
};

const recordless = {
  HostRebooted: "the host restarted; the exit code is not known",
  Vanished: "its shim left no record (killed from outside, or no space); the exit code is not known",
  StoppedByUser: "stopped as asked; its shim left no record, so the exit code is not known",
} as const;

/**
 * How a run ended whose shim left no record: with the machine's restart, or because somebody killed the shim or it found
 * no space. A stop that was asked for stays a stop.
 */
export const endedWithoutRecord = (
  reason: keyof typeof recordless,
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
  detail: recordless[reason],
});
