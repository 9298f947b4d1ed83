import { readFileSync } from "node:fs";
import { addon } from "./addon.ts";
import { unwrap } from "./error.ts";
import type { ProcessRef } from "./records.ts";

/** Field 22 of /proc/PID/stat (proc(5)); throws ENOENT or ESRCH when there is no such process. */
export function startTicks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is the program's name in parentheses, with anything in it.
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
}

/** Whether that very process runs (a reused pid does not count). */
export function isAlive(ref: ProcessRef): boolean {
  const pidfd = unwrap(addon.openProcess(ref));
  if (pidfd === null) return false;
  addon.closeFd(pidfd);
  return true;
}

/** Resolves when that very process has ended, child of ours or not. Dispose to stop waiting; then it never resolves. */
export function watchExit(ref: ProcessRef): { exited: Promise<void>; [Symbol.dispose](): void } {
  const pidfd = unwrap(addon.openProcess(ref));
  if (pidfd === null) return { exited: Promise.resolve(), [Symbol.dispose]() {} };
  const { promise, resolve } = Promise.withResolvers<void>();
  let open = true;
  const stop = (): void => {
    if (!open) return;
    open = false;
    watch.close();
    addon.closeFd(pidfd);
  };
  const watch = new addon.FdWatch(pidfd, "read", () => {
    stop();
    resolve();
  });
  return { exited: promise, [Symbol.dispose]: stop };
}

/** False when that process is gone; never reaches a process that reuses its pid. Throws NativeError step "signal". */
export function sendSignal(ref: ProcessRef, signal: number): boolean {
  const pidfd = unwrap(addon.openProcess(ref));
  if (pidfd === null) return false;
  try {
    return unwrap(addon.signalProcess(pidfd, signal));
  } finally {
    addon.closeFd(pidfd);
  }
}
