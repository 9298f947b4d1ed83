import type { FileHandle } from "node:fs/promises";
import { Worker } from "node:worker_threads";

const thread = new URL("digest-thread.ts", import.meta.url);

/** A disk that gives nothing for this long is not read further, in milliseconds. */
const defaultStallMs = 300_000;

export interface Reading {
  /** told about twice a second, in bytes from the file's beginning */
  readonly onRead?: (readBytes: number) => void;
  readonly stallMs?: number;
}

/**
 * SHA-256 of a file's size and of each piece of 64 KiB of it that is not all zeros, after its place. So holes, of which a
 * machine's memory and disk are mostly made, are not read, and it does not matter which zeros are holes. It is made in a
 * thread of its own: starts and reports do not wait for gibibytes. Rejects what read(2) says, and when nothing comes.
 */
export const digestOf = async (
  file: FileHandle,
  { onRead, stallMs = defaultStallMs }: Reading = {},
): Promise<string> => {
  const { promise: digested, resolve, reject } = Promise.withResolvers<string>();
  const worker = new Worker(thread, { workerData: file.fd });
  const stalled = (): void => reject(new Error(`nothing of it came within ${stallMs / 1000} s`));
  let timer = setTimeout(stalled, stallMs);
  worker.on("message", (told: number | string) => {
    if (typeof told === "string") return resolve(told);
    clearTimeout(timer);
    timer = setTimeout(stalled, stallMs);
    onRead?.(told);
  });
  worker.on("error", reject);
  worker.on("exit", () => reject(new Error("the thread that reads it has ended")));
  try {
    return await digested;
  } finally {
    clearTimeout(timer);
    // It may hang in a call of the kernel: it ends by itself when that is over, and nobody waits for it. Ended from outside it
    // would take the process with it, if that call then failed (napi_throw in a thread that is being terminated).
    worker.unref();
  }
};
