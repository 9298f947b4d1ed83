import { instanceReasons } from "@bulkhead/contracts";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  afterEnd,
  backoffMs,
  isFinal,
  maximumBackoffMs,
  reasonOf,
  settledAfterMs,
  type RestartQuestion,
} from "./index.ts";

const question = (over: Partial<RestartQuestion> = {}): RestartQuestion => ({
  policy: { policy: "always", backoffMs: 1_000 },
  reason: "Exited",
  exitCode: 1,
  detail: null,
  ranMs: 10,
  restarts: 0,
  streak: 0,
  ...over,
});

describe("reason of an end", () => {
  const ending = { exitCode: null, signal: null, oomKilled: false, stopWanted: false };
  test.each([
    [{ ...ending, exitCode: 0 }, "Exited"],
    [{ ...ending, exitCode: 137 }, "Exited"],
    [{ ...ending, signal: 11 }, "Signaled"],
    [{ ...ending, signal: 9, oomKilled: true }, "OomKilled"],
    [{ ...ending, signal: 9, leaseExpired: true, oomKilled: true }, "LeaseExpired"],
    [{ ...ending, signal: 9, stopWanted: true }, "StoppedByUser"],
    [{ ...ending, signal: 9, oomKilled: true, stopWanted: true }, "StoppedByUser"],
  ] as const)("%j is %s", (end, reason) => {
    expect(reasonOf(end)).toBe(reason);
  });
});

describe("restart decision", () => {
  test.each([
    ["always", 0, "backoff"],
    ["always", 1, "backoff"],
    ["on-failure", 0, "stopped"],
    ["on-failure", 1, "backoff"],
    ["never", 0, "stopped"],
    ["never", 1, "failed"],
  ] as const)("policy %s after exit code %i answers %s", (policy, exitCode, state) => {
    expect(afterEnd(question({ policy: { policy }, exitCode })).state).toBe(state);
  });

  test("without a policy an instance is kept running", () => {
    expect(afterEnd(question({ policy: undefined, exitCode: 0 }))).toMatchObject({ kind: "again", delayMs: 1_000 });
  });

  test("delays double from the first to five minutes", () => {
    const delays = Array.from({ length: 12 }, (_, streak) => backoffMs({ policy: "always", backoffMs: 1_000 }, streak));
    expect(delays.slice(0, 4)).toEqual([1_000, 2_000, 4_000, 8_000]);
    expect(delays.at(-1)).toBe(maximumBackoffMs);
  });

  test("ten minutes of running end a row of failures, but not the count of restarts", () => {
    const answer = afterEnd(question({ streak: 7, restarts: 7, ranMs: settledAfterMs }));
    expect(answer).toMatchObject({ delayMs: 1_000, streak: 1, restarts: 8 });
  });

  test("maxRestarts ends in CrashLoop that names the last end", () => {
    const policy = { policy: "always", maxRestarts: 2 } as const;
    expect(afterEnd(question({ policy, restarts: 1 })).kind).toBe("again");
    expect(afterEnd(question({ policy, restarts: 2 }))).toEqual({
      kind: "settled",
      state: "failed",
      reason: "CrashLoop",
      detail: "gave up after 2 restarts; last: exited with code 1",
    });
  });

  test("an image that is not there yet is tried again under every policy", () => {
    for (const policy of ["always", "on-failure", "never"] as const) {
      const answer = afterEnd(
        question({ policy: { policy, maxRestarts: 0 }, reason: "ImageUnavailable", exitCode: null }),
      );
      expect(answer).toMatchObject({ kind: "again", state: "backoff", restarts: 0, streak: 1 });
    }
  });

  test("a lease that ran out waits for a new one and costs no restart", () => {
    const answer = afterEnd(question({ policy: { policy: "never" }, reason: "LeaseExpired", restarts: 3 }));
    expect(answer).toMatchObject({ kind: "again", state: "lost", delayMs: 0, restarts: 3 });
  });

  test("a reboot restarts at once", () => {
    expect(afterEnd(question({ reason: "HostRebooted", streak: 5 }))).toMatchObject({ delayMs: 0, streak: 0 });
    expect(afterEnd(question({ reason: "HostRebooted", policy: { policy: "never" } })).state).toBe("failed");
  });

  test("what cannot heal fails under every policy, with its reason and detail", () => {
    for (const reason of instanceReasons.filter((reason) => isFinal(reason))) {
      const answer = afterEnd(question({ reason, detail: '"/nope" is not in the image' }));
      expect(answer).toEqual({ kind: "settled", state: "failed", reason, detail: '"/nope" is not in the image' });
    }
  });

  test("every delay lies between zero and five minutes and restarts never fall", () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...instanceReasons),
        fc.constantFrom("always" as const, "on-failure" as const, "never" as const),
        fc.record({ restarts: fc.nat(), streak: fc.nat(), ranMs: fc.nat(), exitCode: fc.option(fc.nat({ max: 255 })) }),
        fc.integer({ min: 100, max: 600_000 }),
        (reason, policy, history, first) => {
          const answer = afterEnd(question({ reason, policy: { policy, backoffMs: first }, ...history }));
          if (answer.kind === "settled") return;
          expect(answer.delayMs).toBeGreaterThanOrEqual(0);
          expect(answer.delayMs).toBeLessThanOrEqual(maximumBackoffMs);
          expect(answer.restarts).toBeGreaterThanOrEqual(history.restarts);
        },
      ),
    );
  });
});
