import type { Problem } from "@bulkhead/contracts";
import { errors, fleetError, type ErrorCode, type ErrorFields, type FleetError } from "@bulkhead/contracts/errors";

const isProblem = (value: unknown): value is Problem =>
  typeof value === "object" &&
  value !== null &&
  "code" in value &&
  typeof value.code === "string" &&
  "detail" in value &&
  typeof value.detail === "string";

/** Statuses that proxies and load balancers answer with themselves, without our problem document. */
const codeOfStatus = (status: number): ErrorCode => {
  if (status === 401) return "UNAUTHENTICATED";
  if (status === 403) return "FORBIDDEN";
  if (status === 404) return "NOT_FOUND";
  if (status === 413) return "BODY_TOO_LARGE";
  if (status === 429) return "RATE_LIMITED";
  return status >= 502 && status <= 504 ? "API_UNREACHABLE" : "INTERNAL";
};

/** The error a problem document tells of; the document itself is its `cause`. A code newer than ours is INTERNAL. */
const errorOfProblem = (problem: Problem): FleetError => {
  const known = problem.code in errors;
  const fields: ErrorFields = {
    ...(problem.errors === undefined ? {} : { errors: problem.errors }),
    ...(problem.hosts === undefined ? {} : { hosts: problem.hosts }),
    ...(problem.nearestFeasible === undefined ? {} : { nearestFeasible: problem.nearestFeasible }),
    ...(problem.retryAfterMs === undefined ? {} : { retryAfterMs: problem.retryAfterMs }),
  };
  const detail = known ? problem.detail : `${problem.code}: ${problem.detail}`;
  return fleetError(known ? (problem.code as ErrorCode) : "INTERNAL", detail, { fields, cause: problem });
};

/** The error of an answer that is not a success, whatever sent it. */
export const errorOfAnswer = async (answer: { status: number; text(): Promise<string> }): Promise<FleetError> => {
  const text = await answer.text();
  try {
    const body: unknown = JSON.parse(text);
    if (isProblem(body)) return errorOfProblem(body);
  } catch {
    // Not JSON: something between us and the API answered.
  }
  const shown = text.trim().slice(0, 200);
  return fleetError(
    codeOfStatus(answer.status),
    `The server answered ${answer.status}${shown === "" ? "" : ` with: ${shown}`}. Is this address a Bulkhead API?`,
  );
};

/** The problem document behind an error, when the API sent one; it has the trace id. */
export const problemOf = (error: FleetError): Problem | undefined => (isProblem(error.cause) ? error.cause : undefined);
