import type { Readable } from "node:stream";
import { Transient } from "./attempts.ts";

export interface Pace {
  /** a connection has this long for the next `minBytes`, in milliseconds */
  readonly windowMs: number;
  readonly minBytes: number;
}

/**
 * A body as it arrives, failed with Transient when it comes too slowly: one that sends a byte now and then would hold a
 * pull for ever. Only waiting for the server counts, not what the reader does between.
 */
export async function* paced(body: Readable, pace: Pace): AsyncGenerator<Uint8Array> {
  const iterator = body[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>;
  let [bytes, leftMs] = [0, pace.windowMs];
  try {
    for (;;) {
      const began = performance.now();
      const timer = setTimeout(() => {
        body.destroy(new Transient(`the connection brought ${bytes} bytes in ${pace.windowMs} ms`));
      }, leftMs);
      const next = await iterator.next().finally(() => clearTimeout(timer));
      if (next.done === true) return;
      bytes += next.value.byteLength;
      leftMs = Math.max(0, leftMs - (performance.now() - began));
      if (bytes >= pace.minBytes) [bytes, leftMs] = [0, pace.windowMs];
      yield next.value;
    }
  } finally {
    body.destroy();
  }
}
