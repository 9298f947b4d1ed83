import { once } from "node:events";
import type { FileHandle } from "node:fs/promises";
import { Worker } from "node:worker_threads";

const thread = new URL("digest-thread.ts", import.meta.url);

/**
 * SHA-256 of a file's size and of each piece of 64 KiB of it that is not all zeros, after its place. So holes, of which a
 * machine's memory and disk are mostly made, are not read, and it does not matter which zeros are holes. It is made in a
 * thread of its own: starts and reports do not wait for gibibytes. Rejects what read(2) says.
 */
export const digestOf = async (file: FileHandle): Promise<string> => {
  const worker = new Worker(thread, { workerData: file.fd });
  const [digest] = (await once(worker, "message")) as [string];
  return digest;
};
