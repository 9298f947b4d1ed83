import { readFileSync } from "node:fs";

/** Id of this boot, new after every restart of the machine. */
export const readBootId = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();

/**
 * CLOCK_BOOTTIME in nanoseconds, from /proc/uptime, which the kernel truncates to 10 ms: never ahead of the real clock,
 * so a lease counted from it never lasts too long.
 */
export const boottimeNs = (): bigint => {
  const [uptime = "0"] = readFileSync("/proc/uptime", "utf8").split(" ");
  const [seconds = "0", hundredths = "0"] = uptime.split(".");
  return BigInt(seconds) * 1_000_000_000n + BigInt(hundredths.padEnd(2, "0").slice(0, 2)) * 10_000_000n;
};
