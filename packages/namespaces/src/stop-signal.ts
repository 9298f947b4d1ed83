import { readFileSync } from "node:fs";
import { settlesWithin } from "@bulkhead/node";

/** How often a first process without a handler is asked whether it has one now, in milliseconds. */
const hearingPollMs = 20;

/** Signals no process can handle, block or ignore (signal(7)); SIGKILL from outside ends even a first process. */
const unstoppable = new Set([9, 19]);

const has = (status: string, field: "SigCgt" | "SigBlk", signal: number): boolean => {
  const mask = new RegExp(`^${field}:\\s*([0-9a-f]+)$`, "m").exec(status)?.[1];
  return mask !== undefined && ((BigInt(`0x${mask}`) >> BigInt(signal - 1)) & 1n) === 1n;
};

/**
 * Whether a signal does something to a process, from the text of its /proc/PID/status (proc(5)). The first process of a
 * pid namespace never sees one it has no handler for (pid_namespaces(7)); a blocked one stays pending for sigwait or a
 * signalfd. Every other process has at least the default action.
 */
export const hears = (status: string, signal: number): boolean => {
  const pids = /^NSpid:\s*(.*)$/m.exec(status)?.[1]?.split(/\s+/) ?? [];
  const first = pids.length > 1 && pids.at(-1) === "1";
  return !first || unstoppable.has(signal) || has(status, "SigCgt", signal) || has(status, "SigBlk", signal);
};

/** The same of a living process; true when it is gone, for then there is nothing to wait for. */
const processHears = (pid: number, signal: number): boolean => {
  try {
    return hears(readFileSync(`/proc/${pid}/status`, "utf8"), signal);
  } catch {
    return true;
  }
};

/**
 * Sends the stop signal as soon as it is heard, and waits until the end or until the grace is over: a program that is
 * still starting has no handler for it yet.
 */
export const askToEnd = async (
  asked: { readonly ended: Promise<unknown>; readonly pid: number | null; signal(): void },
  signal: number,
  graceMs: number,
): Promise<void> => {
  const deadline = performance.now() + graceMs;
  for (let waitMs = 1; ; waitMs = Math.min(2 * waitMs, hearingPollMs)) {
    const leftMs = deadline - performance.now();
    if (leftMs <= 0) return;
    if (asked.pid === null || processHears(asked.pid, signal)) {
      asked.signal();
      await settlesWithin(asked.ended, leftMs);
      return;
    }
    if (await settlesWithin(asked.ended, Math.min(waitMs, leftMs))) return;
  }
};
