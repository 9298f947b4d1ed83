import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";

export interface Progress {
  readonly sentBytes: number;
  /** undefined when the source's size is not known (a pipe) */
  readonly totalBytes: number | undefined;
}

/** How often progress is told, in milliseconds. */
const tellMs = 100;

/** A source's bytes, telling progress as the connection takes them; always tells the end. */
export async function* withProgress(
  source: AsyncIterable<Uint8Array>,
  totalBytes: number | undefined,
  tell: (progress: Progress) => void,
): AsyncGenerator<Uint8Array> {
  let sentBytes = 0;
  let told = 0;
  for await (const chunk of source) {
    yield chunk;
    sentBytes += chunk.byteLength;
    if (performance.now() - told >= tellMs) {
      told = performance.now();
      tell({ sentBytes, totalBytes });
    }
  }
  tell({ sentBytes, totalBytes });
}

/** Reads a file as 256 KiB chunks with its size, in bytes. Rejects with the file system's error. */
export const openFile = async (path: string): Promise<{ content: AsyncIterable<Uint8Array>; sizeBytes: number }> => {
  const { size } = await stat(path);
  return { content: createReadStream(path, { highWaterMark: 256 * 1024 }), sizeBytes: size };
};
