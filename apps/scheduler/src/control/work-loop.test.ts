import { fleetError } from "@bulkhead/contracts";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { memoryLog } from "./testing/memory-log.ts";
import { WorkLoop } from "./work-loop.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

describe("WorkLoop", () => {
  test("wakes during a run cause one more run, never two at once", async () => {
    let [running, most, runs] = [0, 0, 0];
    const gates: (() => void)[] = [];
    const loop = new WorkLoop(
      async () => {
        running += 1;
        runs += 1;
        most = Math.max(most, running);
        await new Promise<void>((resolve) => {
          gates.push(resolve);
        });
        running -= 1;
      },
      { name: "test", log: memoryLog() },
    );
    loop.wake();
    loop.wake();
    loop.wake();
    gates.shift()?.();
    await vi.waitFor(() => expect(gates).toHaveLength(1));
    gates.shift()?.();
    await vi.waitFor(() => expect(running).toBe(0));
    expect([most, runs]).toEqual([1, 2]);
    await loop.stop();
  });

  test("runs at its interval without a wake, and not after stop", async () => {
    let runs = 0;
    const loop = new WorkLoop(async () => void (runs += 1), { name: "test", everyMs: 100, log: memoryLog() });
    await vi.advanceTimersByTimeAsync(350);
    expect(runs).toBe(3);
    await loop.stop();
    loop.wake();
    await vi.advanceTimersByTimeAsync(1000);
    expect(runs).toBe(3);
  });

  test("a failure is logged once, tried again, and its end is logged", async () => {
    const log = memoryLog();
    const errors: unknown[] = [];
    let failures = 3;
    const loop = new WorkLoop(
      async () => {
        failures -= 1;
        if (failures >= 0) throw new Error("no");
      },
      { name: "test", log, onError: (error) => errors.push(error) },
    );
    loop.wake();
    await vi.advanceTimersByTimeAsync(5000);
    expect(failures).toBe(-1);
    expect(errors).toHaveLength(3);
    expect(log.lines.map((line) => line.message)).toEqual([
      "control work failed, trying again",
      "control work goes on",
    ]);
    await loop.stop();
  });

  test("a lost database is nobody's error", async () => {
    const errors: unknown[] = [];
    const loop = new WorkLoop(() => Promise.reject(fleetError("DATABASE_UNAVAILABLE", "gone")), {
      name: "test",
      log: memoryLog(),
      onError: (error) => errors.push(error),
    });
    loop.wake();
    await vi.advanceTimersByTimeAsync(100);
    expect(errors).toEqual([]);
    await loop.stop();
  });
});
