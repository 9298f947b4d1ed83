import { problemOf } from "@bulkhead/client";
import { errors, isFleetError, type ErrorCode, type FleetError } from "@bulkhead/contracts/errors";
import { UsageError } from "./command.ts";

/** Exit codes of every command but `exec`, which ends with its command's own; docs/cli.md is made from this table. */
export const exitCodes = {
  ok: { code: 0, meaning: "done" },
  failed: { code: 1, meaning: "the request, or what it started, failed" },
  usage: { code: 2, meaning: "the command line is wrong, or no context is set" },
  unreachable: { code: 3, meaning: "the API, or what it needs, does not answer" },
  denied: { code: 4, meaning: "no valid token, or its role does not allow this" },
  notFound: { code: 5, meaning: "no such object" },
  conflict: { code: 6, meaning: "not possible now: a name is taken, a state conflicts, no host has room" },
  timeout: { code: 7, meaning: "the awaited state was not reached in time" },
  execFailed: { code: 125, meaning: "exec: the command could not be started, or the connection broke" },
  interrupted: { code: 130, meaning: "ended by Ctrl-C" },
} as const;

const groups: Partial<Record<ErrorCode, keyof typeof exitCodes>> = {
  UNAUTHENTICATED: "denied",
  FORBIDDEN: "denied",
  WAIT_TIMEOUT: "timeout",
};

const statusGroups: Readonly<Record<number, keyof typeof exitCodes>> = {
  404: "notFound",
  409: "conflict",
  412: "conflict",
  503: "unreachable",
};

/** The exit code that tells a script what kind of failure it was. */
export const exitCodeOf = (error: unknown): number => {
  if (error instanceof UsageError) return exitCodes.usage.code;
  if (!isFleetError(error)) return exitCodes.failed.code;
  return exitCodes[groups[error.code] ?? statusGroups[errors[error.code].status] ?? "failed"].code;
};

const details = (error: FleetError): string[] => {
  const { fields } = error;
  const problem = problemOf(error);
  return [
    ...(fields.errors ?? []).map(({ pointer, message }) => `  ${pointer === "" ? "/" : pointer}: ${message}`),
    ...(fields.hosts ?? []).map(({ hostName, reason }) => `  host ${hostName}: ${reason}`),
    ...Object.entries(fields.nearestFeasible ?? {}).map(([field, value]) => `  nearest feasible: ${field} = ${value}`),
    ...(fields.retryAfterMs === undefined ? [] : [`  retry after: ${fields.retryAfterMs} ms`]),
    ...(errors[error.code].remedy.startsWith("`detail`") ? [] : [`  what to do: ${errors[error.code].remedy}`]),
    ...(problem?.traceId === undefined ? [] : [`  trace: ${problem.traceId}`]),
  ];
};

/** A failure for people: what happened, every host's reason, the nearest value that works, what to do, the trace. */
export const describeError = (error: unknown): string => {
  if (error instanceof UsageError) return `bulkhead: ${error.message}`;
  if (isFleetError(error)) return [`bulkhead: ${error.message} (${error.code})`, ...details(error)].join("\n");
  if (error instanceof Error && "code" in error && "path" in error) return `bulkhead: ${error.message}`;
  return `bulkhead: an unexpected error\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}`;
};
