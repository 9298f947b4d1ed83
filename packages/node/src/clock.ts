import { readFileSync } from "node:fs";

export interface Timer {
  cancel(): void;
}

export interface Clock {
  /** Unix time in milliseconds; may jump. */
  now(): number;
  /** CLOCK_BOOTTIME in nanoseconds: never jumps, runs on through suspend, zero at boot. Leases count by it. */
  boottimeNs(): bigint;
  /** Calls `action` once after `delayMs` milliseconds. */
  after(delayMs: number, action: () => void): Timer;
}

/** Largest delay setTimeout takes, in milliseconds (2^31 - 1); longer ones would fire at once. */
const longestTimerMs = 2_147_483_647;

/** Seconds since boot by CLOCK_BOOTTIME with two decimals, rounded down: a lease counted from it ends early, never late. */
const readUptimeNs = (): bigint => {
  const [seconds = "0", hundredths = "0"] = (readFileSync("/proc/uptime", "ascii").split(" ")[0] ?? "0").split(".");
  return BigInt(seconds) * 1_000_000_000n + BigInt(hundredths.padEnd(2, "0")) * 10_000_000n;
};

/** The machine's clocks. `boottimeNs` may be given where a finer one than /proc/uptime is at hand. */
export const systemClock = (options: { boottimeNs?: () => bigint } = {}): Clock => ({
  now: () => Date.now(),
  boottimeNs: options.boottimeNs ?? readUptimeNs,
  after: (delayMs, action) => {
    const timer = setTimeout(action, Math.min(Math.max(delayMs, 0), longestTimerMs));
    return { cancel: () => clearTimeout(timer) };
  },
});
