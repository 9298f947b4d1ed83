import { readFileSync, watch } from "node:fs";
import { parseReport, type GuestReport } from "./guest/report.ts";

/** A change that the kernel did not tell of is seen at the latest after this, in milliseconds. */
const lookMs = 500;

/** What the guest has reported so far; null: nothing. */
export const readReport = (path: string): GuestReport | null => {
  try {
    return parseReport(readFileSync(path).subarray(0, 512));
  } catch {
    return null;
  }
};

/** Resolves with the guest's first report. Rejects when the signal aborts. */
export const firstReport = async (path: string, signal: AbortSignal): Promise<GuestReport> => {
  const found = Promise.withResolvers<GuestReport>();
  const look = (): void => {
    const report = readReport(path);
    if (report !== null) found.resolve(report);
  };
  const abandon = (): void => found.reject(signal.reason as Error);
  signal.addEventListener("abort", abandon);
  using watcher = watched(path, look);
  const looking = setInterval(look, lookMs);
  try {
    void watcher;
    look();
    if (signal.aborted) abandon();
    return await found.promise;
  } finally {
    clearInterval(looking);
    signal.removeEventListener("abort", abandon);
  }
};

const watched = (path: string, look: () => void): Disposable => {
  const watcher = watch(path, look);
  // Without it the interval is all there is, which is enough.
  watcher.on("error", () => undefined);
  return { [Symbol.dispose]: () => watcher.close() };
};
