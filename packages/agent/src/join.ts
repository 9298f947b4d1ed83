import { errors, fleetError, HostCredential, type ErrorCode, type JoinHost } from "@bulkhead/contracts";
import { Value } from "typebox/value";

/** How long one attempt to join may take, in milliseconds. */
const joinTimeoutMs = 10_000;

const messageOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
};

interface ProblemLike {
  readonly code?: unknown;
  readonly detail?: unknown;
}

/**
 * Asks the scheduler to make this machine a host. Rejects HOST_UNREACHABLE when nobody answers or the scheduler cannot
 * now (worth another attempt), and the scheduler's own error, e.g. UNAUTHENTICATED, when it refuses.
 */
export const joinFleet = async (request: {
  apiUrl: string;
  token: string;
  body: JoinHost;
  signal: AbortSignal;
}): Promise<HostCredential> => {
  const url = new URL("/internal/hosts/join", request.apiUrl);
  let response: Response;
  let answer: unknown;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { authorization: `Bearer ${request.token}`, "content-type": "application/json" },
      body: JSON.stringify(request.body),
      signal: AbortSignal.any([request.signal, AbortSignal.timeout(joinTimeoutMs)]),
    });
    answer = await response.json();
  } catch (cause) {
    throw fleetError("HOST_UNREACHABLE", `${url.href} does not answer: ${messageOf(cause)}`, { cause });
  }
  if (response.ok) {
    if (Value.Check(HostCredential, answer)) return answer;
    throw fleetError(
      "SETUP_FAILED",
      `${url.href} answered with something that is no host credential; is it a scheduler?`,
    );
  }
  const { code, detail } = (answer ?? {}) as ProblemLike;
  const text = typeof detail === "string" ? detail : `status ${response.status}`;
  if (response.status >= 500 || response.status === 429) {
    throw fleetError("HOST_UNREACHABLE", `${url.href} cannot join hosts now: ${text}`);
  }
  const known = typeof code === "string" && Object.hasOwn(errors, code);
  throw fleetError(known ? (code as ErrorCode) : "SETUP_FAILED", `joining at ${url.href} was refused: ${text}`);
};
