import { fleetError, isFleetError } from "@bulkhead/contracts/errors";
import type { Transport } from "./transport.ts";

/** Longest one request waits, in milliseconds; below the idle limits of common proxies (60 s). */
const oneWaitMs = 30_000;

export interface Wait {
  readonly path: string;
  /** for WAIT_TIMEOUT: what was waited for */
  readonly what: string;
  readonly query?: Readonly<Record<string, string>>;
  /** in milliseconds; WAIT_TIMEOUT is thrown when it has passed */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Waits as long as asked, in requests short enough for whatever is between us and the API. */
export const waitFor = async <Body>(transport: Transport, wait: Wait): Promise<Body> => {
  const deadline = performance.now() + wait.timeoutMs;
  for (;;) {
    const leftMs = Math.max(1, Math.round(deadline - performance.now()));
    try {
      return await transport.json<Body>({
        method: "GET",
        path: wait.path,
        query: { ...wait.query, timeoutMs: Math.min(leftMs, oneWaitMs) },
        ...(wait.signal === undefined ? {} : { signal: wait.signal }),
      });
    } catch (error) {
      if (!isFleetError(error) || error.code !== "WAIT_TIMEOUT") throw error;
      if (performance.now() < deadline) continue;
      throw fleetError("WAIT_TIMEOUT", `${wait.what} was not reached within ${wait.timeoutMs} ms.`, {
        cause: error.cause,
      });
    }
  }
};
