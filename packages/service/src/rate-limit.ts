interface Bucket {
  tokens: number;
  refilledAtMs: number;
}

/**
 * Token buckets, one per key (a token's id, an address): `burst` at once, then `perSecond` sustained. Keys are bounded:
 * the one not used for longest is forgotten first, which only ever forgives.
 */
export class RateLimiter {
  readonly #burst: number;
  readonly #perSecond: number;
  readonly #maxKeys: number;
  readonly #nowMs: () => number;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: { burst: number; perSecond: number; maxKeys?: number; nowMs?: () => number }) {
    this.#burst = options.burst;
    this.#perSecond = options.perSecond;
    this.#maxKeys = options.maxKeys ?? 10_000;
    this.#nowMs = options.nowMs ?? (() => performance.now());
  }

  /** 0 when allowed (one token is taken), otherwise the milliseconds after which one is there. */
  take(key: string): number {
    const now = this.#nowMs();
    const bucket = this.#buckets.get(key) ?? { tokens: this.#burst, refilledAtMs: now };
    const refill = ((now - bucket.refilledAtMs) / 1000) * this.#perSecond;
    bucket.tokens = Math.min(this.#burst, bucket.tokens + refill);
    bucket.refilledAtMs = now;
    // Map keeps insertion order: to insert again makes this key the youngest.
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > this.#maxKeys) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    if (bucket.tokens >= 1) {
      bucket.tokens -= 1;
      return 0;
    }
    return Math.ceil(((1 - bucket.tokens) / this.#perSecond) * 1000);
  }
}
