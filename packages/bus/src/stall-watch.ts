import type { Subscription } from "@nats-io/transport-node";

/** Between two looks, in milliseconds. */
const lookMs = 1_000;

/**
 * Tells when a stream stays silent although its subject is not. A server whose stream was deleted and made again can
 * end up with one that takes pulls and delivers nothing, without any error.
 */
export class StallWatch implements Disposable {
  readonly #subscription: Subscription;
  readonly #timer: NodeJS.Timeout;
  /** arrival of the oldest message that the stream has not brought */
  #waitingSince: number | undefined;

  constructor(options: {
    /** listens to the stream's subject itself, calling back for each message */
    listen: (heard: () => void) => Subscription;
    /** false while the receiver itself is what is slow */
    wanting: () => boolean;
    stallMs: number;
    stalled: () => void;
  }) {
    this.#subscription = options.listen(() => {
      this.#waitingSince ??= performance.now();
    });
    this.#timer = setInterval(() => {
      const waited = this.#waitingSince === undefined ? 0 : performance.now() - this.#waitingSince;
      if (waited > options.stallMs && options.wanting()) options.stalled();
    }, lookMs);
    this.#timer.unref();
  }

  /** The stream brought a message. */
  delivered(): void {
    this.#waitingSince = undefined;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#subscription.unsubscribe();
  }
}
