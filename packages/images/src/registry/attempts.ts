import type { IncomingHttpHeaders } from "node:http";
import { setTimeout as delay } from "node:timers/promises";

/** Another attempt may go well. */
export class Transient extends Error {
  /** what the server asked us to wait, in milliseconds */
  readonly retryAfterMs: number;

  constructor(message: string, retryAfterMs = 0) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

/** The server answers, and its answers make no sense: no attempt will help. */
export class Unusable extends Error {}

/** Statuses that another attempt may change. */
export const isTransientStatus = (status: number): boolean =>
  status === 408 || status === 425 || status === 429 || status >= 500;

/** Seconds or a date (RFC 9110 section 10.2.3) in milliseconds from now; 0 when absent. */
export const retryAfterMs = (headers: IncomingHttpHeaders): number => {
  const text = headers["retry-after"];
  if (text === undefined) return 0;
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isFinite(ms) ? Math.max(0, ms) : 0;
};

/** What happened, with the system's own words where Node hides them in the cause. */
export const reasonOf = (error: unknown): string => {
  if (!(error instanceof Error)) return String(error);
  if (error instanceof AggregateError && error.message === "") return error.errors.map(reasonOf).join("; ");
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message;
};

const firstDelayMs = 100;
const maxDelayMs = 5_000;

/** Thrown by `pause` when waiting longer is of no use. */
export class OutOfPatience extends Error {
  readonly retryAfterMs: number;

  constructor(cause: unknown) {
    super(reasonOf(cause), { cause });
    this.retryAfterMs = cause instanceof Transient ? cause.retryAfterMs : 0;
  }
}

/** How often and how long one thing is tried: with growing pauses, until nothing came for `deadlineMs`. */
export class Patience {
  readonly #deadlineMs: number;
  #giveUpAt: number;
  #attempt = 0;

  constructor(deadlineMs: number) {
    this.#deadlineMs = deadlineMs;
    this.#giveUpAt = performance.now() + deadlineMs;
  }

  /** Something came that is worth going on for. */
  progress(): void {
    this.#attempt = 0;
    this.#giveUpAt = performance.now() + this.#deadlineMs;
  }

  /** Time that passed for reasons of our own. */
  extend(ms: number): void {
    this.#giveUpAt += ms;
  }

  /** Waits before the next attempt. Rejects OutOfPatience, or the signal's reason. */
  async pause(cause: unknown, signal: AbortSignal): Promise<void> {
    const asked = cause instanceof Transient ? cause.retryAfterMs : 0;
    // Up to half as long again: hosts that failed together must not return together.
    const own = Math.min(maxDelayMs, firstDelayMs * 2 ** Math.min(this.#attempt, 10)) * (1 + Math.random() / 2);
    this.#attempt += 1;
    const waitMs = Math.max(asked, own);
    if (performance.now() + waitMs >= this.#giveUpAt) throw new OutOfPatience(cause);
    await delay(waitMs, undefined, { signal });
  }
}
