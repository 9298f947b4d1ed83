import { setTimeout as delay } from "node:timers/promises";
import type { Bus } from "@bulkhead/bus";
import type { Log } from "@bulkhead/node";

/** Between attempts to connect, in milliseconds. */
const retryMs = 1_000;

/**
 * Connects to the bus, however long it takes, and hands the connection over. Resolves at the first connection or when
 * `patienceMs` are over, whichever is first: an agent whose bus is away still has instances to look after. A connection
 * once made heals by itself.
 */
export const connectEventually = async (options: {
  connect: () => Promise<Bus>;
  connected: (bus: Bus) => void;
  /** after an attempt failed: what the next one needs may have to be renewed */
  failed: (error: unknown) => Promise<void>;
  patienceMs: number;
  log: Log;
  signal: AbortSignal;
}): Promise<void> => {
  const { signal } = options;
  const { promise: settled, resolve } = Promise.withResolvers<void>();
  const attempt = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        const bus = await options.connect();
        options.connected(bus);
        return;
      } catch (err) {
        options.log.warn({ err }, "bus not connected, trying again");
        await options.failed(err);
        await delay(retryMs, undefined, { signal }).catch(() => undefined);
      }
    }
  };
  const patience = setTimeout(resolve, options.patienceMs);
  void attempt().then(resolve);
  await settled;
  clearTimeout(patience);
};
