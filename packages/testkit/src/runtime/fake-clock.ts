import { setImmediate } from "node:timers/promises";
import type { Clock, Timer } from "@bulkhead/node";

interface Due {
  readonly atMs: number;
  readonly action: () => void;
}

/** Lets everything run that needs no timer: promises, and what they lead to. */
export const settle = async (): Promise<void> => {
  for (let turn = 0; turn < 5; turn += 1) await setImmediate();
};

/** Waits for a condition, letting promises run; rejects when it is not met within `deadlineMs` of real time. */
export const until = async (condition: () => boolean, deadlineMs = 5_000): Promise<void> => {
  const deadline = performance.now() + deadlineMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`not met within ${deadlineMs} ms`);
    await setImmediate();
  }
};

/** Time that moves only when told to. */
export class FakeClock implements Clock {
  #nowMs = Date.parse("2026-01-01T00:00:00.000Z");
  #uptimeMs = 1_000_000;
  readonly #due = new Set<Due>();

  now(): number {
    return this.#nowMs;
  }

  boottimeNs(): bigint {
    return BigInt(this.#uptimeMs) * 1_000_000n;
  }

  after(delayMs: number, action: () => void): Timer {
    const due = { atMs: this.#uptimeMs + Math.max(delayMs, 0), action };
    this.#due.add(due);
    return { cancel: () => void this.#due.delete(due) };
  }

  /** Timers that wait. */
  get waiting(): number {
    return this.#due.size;
  }

  /** Moves time on, timer by timer, and lets each one's consequences happen before the next. */
  async advance(byMs: number): Promise<void> {
    const target = this.#uptimeMs + byMs;
    await settle();
    for (let next = this.#next(target); next !== undefined; next = this.#next(target)) {
      this.#due.delete(next);
      this.#moveTo(next.atMs);
      next.action();
      await settle();
    }
    this.#moveTo(target);
    await settle();
  }

  /** The wall clock alone jumps, as when it is set. */
  jump(byMs: number): void {
    this.#nowMs += byMs;
  }

  #moveTo(uptimeMs: number): void {
    if (uptimeMs <= this.#uptimeMs) return;
    this.#nowMs += uptimeMs - this.#uptimeMs;
    this.#uptimeMs = uptimeMs;
  }

  #next(targetMs: number): Due | undefined {
    let next: Due | undefined;
    for (const due of this.#due) if (due.atMs <= targetMs && (next === undefined || due.atMs < next.atMs)) next = due;
    return next;
  }
}
