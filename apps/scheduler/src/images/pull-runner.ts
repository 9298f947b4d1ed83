import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { type LayerProgress, isFleetError, toProblem } from "@bulkhead/contracts";
import type { PullProgress } from "@bulkhead/images";
import type { ApiInventory, HeldPull } from "@bulkhead/inventory";
import type { Logger } from "@bulkhead/service";
import type { ImageStore } from "../ports.ts";
import { describeProgress } from "./pull-progress.ts";

/** Pulls of one scheduler at once; others wait in the database. */
const concurrentPulls = 4;
/** Progress is written at most this often, in milliseconds. */
const newsMs = 500;
/** A holder that is silent says that it lives this often, and is taken for dead after `staleMs`. */
const beatMs = 5_000;
const staleMs = 30_000;

export interface PullRunnerParts {
  readonly inventory: ApiInventory;
  readonly images: ImageStore;
  readonly log: Logger;
  /** something was written that watchers should see */
  readonly onWritten: () => void;
}

/**
 * Does the pulls that the database knows of: its own scheduler's and, when another scheduler died, that one's, from where
 * it stopped. Disposing of it stops the running ones and lets others go on with them.
 */
export class PullRunner implements AsyncDisposable {
  readonly #parts: PullRunnerParts;
  readonly #holder = `${hostname()}-${randomUUID()}`;
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();
  readonly #timer: NodeJS.Timeout;
  #looking: Promise<void> = Promise.resolve();

  constructor(parts: PullRunnerParts) {
    this.#parts = parts;
    this.#timer = setInterval(() => this.wake(), beatMs);
    this.wake();
  }

  /** There may be a pull to do. */
  wake(): void {
    this.#looking = this.#looking.then(() => this.#look());
  }

  async #look(): Promise<void> {
    const limit = concurrentPulls - this.#running.size;
    if (limit <= 0 || this.#stop.signal.aborted) return;
    const { inventory, log } = this.#parts;
    try {
      const claim = { holder: this.#holder, limit, staleMs };
      for (const pull of await inventory.write((tx) => tx.claimPulls(claim))) {
        const running = this.#run(pull).finally(() => {
          this.#running.delete(running);
          this.wake();
        });
        this.#running.add(running);
      }
    } catch (err) {
      // The timer looks again.
      log.warn({ err }, "pulls were not looked for");
    }
  }

  /** Never rejects. */
  async #run(pull: HeldPull): Promise<void> {
    const { images, log } = this.#parts;
    const { operationId, reference, change } = pull;
    const lost = new AbortController();
    const news = new News(pull, { ...this.#parts, onLost: (why) => lost.abort(why) });
    try {
      const image = await images.pull({
        reference,
        project: change.project,
        signal: AbortSignal.any([this.#stop.signal, lost.signal]),
        onProgress: (progress) => news.hear(progress),
      });
      const layers = await news.close();
      await this.#finish(pull, {
        image: {
          digest: image.manifestDigest,
          sizeBytes: image.sizeBytes,
          layers: image.layers.map(({ digest, sizeBytes }) => ({ digest, sizeBytes })),
          config: image.config,
          names: pull.names,
        },
        layers,
      });
      log.info({ operationId, reference, digest: image.manifestDigest }, "image pulled");
    } catch (err) {
      await news.close();
      // Another scheduler goes on with it, or this one's successor.
      if (this.#stop.signal.aborted || lost.signal.aborted) return;
      log.warn({ operationId, reference, err }, "image not pulled");
      const { traceId } = change;
      const error = toProblem(err, traceId === null ? {} : { traceId });
      await this.#finish(pull, { error }).catch((cause: unknown) => {
        // The row stays held and grows stale: it is pulled again.
        log.warn({ operationId, err: cause }, "the end of a pull was not written");
      });
    }
  }

  async #finish(pull: HeldPull, outcome: Parameters<FinishPull>[1]): Promise<void> {
    await this.#parts.inventory.write((tx) => tx.finishPull(pull, outcome));
    this.#parts.onWritten();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    this.#stop.abort(new Error("the scheduler stops"));
    await this.#looking;
    await Promise.all(this.#running);
    const { inventory, log } = this.#parts;
    await inventory
      .write((tx) => tx.releasePulls(this.#holder))
      .catch((err: unknown) => {
        log.warn({ err }, "pulls were not released; others take them over when they are stale");
      });
  }
}

type FinishPull = Parameters<Parameters<ApiInventory["write"]>[0]>[0]["finishPull"];

/** Writes what one pull says, no more often than is useful, and that it goes on when it says nothing. */
class News {
  readonly #pull: HeldPull;
  readonly #parts: PullRunnerParts & { readonly onLost: (why: unknown) => void };
  readonly #timer: NodeJS.Timeout;
  #latest: PullProgress = { step: "resolving", layers: [] };
  #told: PullProgress | undefined;
  #toldAtMs = 0;
  #writing: Promise<void> = Promise.resolve();

  constructor(pull: HeldPull, parts: PullRunnerParts & { readonly onLost: (why: unknown) => void }) {
    this.#pull = pull;
    this.#parts = parts;
    this.#timer = setInterval(() => {
      this.#writing = this.#writing.then(() => this.#tell());
    }, newsMs);
  }

  hear(progress: PullProgress): void {
    this.#latest = progress;
  }

  async #tell(): Promise<void> {
    const [now, before] = [this.#latest, this.#told];
    if (now === before && performance.now() - this.#toldAtMs < beatMs) return;
    const known = new Map(before?.layers.map(({ digest, state }) => [digest, state]));
    const changed: LayerProgress[] = now.layers.filter(({ digest, state }) => known.get(digest) !== state);
    const news = { progress: describeProgress(now), layers: now.layers, changed };
    try {
      await this.#parts.inventory.write((tx) => tx.beatPull(this.#pull, news));
      [this.#told, this.#toldAtMs] = [now, performance.now()];
      if (changed.length > 0) this.#parts.onWritten();
    } catch (err) {
      if (isFleetError(err) && err.code === "STATE_CONFLICT") this.#parts.onLost(err);
      // Else the database is away for a moment: what is not told now is told next time.
    }
  }

  /** Tells the last states; answers them. */
  async close(): Promise<readonly LayerProgress[]> {
    clearInterval(this.#timer);
    await this.#writing;
    await this.#tell();
    return this.#latest.layers;
  }
}
