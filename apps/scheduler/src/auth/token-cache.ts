import { createHash } from "node:crypto";
import type { Identity } from "@bulkhead/inventory";

/** Stored form of a token. */
export const hashToken = (token: string): Buffer => createHash("sha256").update(token, "utf8").digest();

/** A revoked token may be used this much longer, in milliseconds. */
const keptMs = 5_000;
/** Tokens remembered; beyond it the oldest look-up is forgotten. */
const maximumKept = 10_000;

interface Known {
  readonly identity: Promise<Identity | undefined>;
  readonly untilMs: number;
}

/** Who tokens are, asked from the database at most every five seconds each. */
export class TokenCache {
  readonly #find: (hash: Uint8Array) => Promise<Identity | undefined>;
  readonly #nowMs: () => number;
  readonly #known = new Map<string, Known>();

  constructor(find: (hash: Uint8Array) => Promise<Identity | undefined>, nowMs: () => number) {
    this.#find = find;
    this.#nowMs = nowMs;
  }

  /** Undefined for a token that is unknown or revoked. Rejects DATABASE_UNAVAILABLE. */
  async identify(token: string): Promise<Identity | undefined> {
    const hash = hashToken(token);
    const key = hash.toString("base64");
    const known = this.#known.get(key);
    if (known !== undefined && known.untilMs > this.#nowMs()) return known.identity;
    const identity = this.#find(hash);
    this.#known.delete(key);
    this.#known.set(key, { identity, untilMs: this.#nowMs() + keptMs });
    if (this.#known.size > maximumKept) {
      const [oldest] = this.#known.keys();
      if (oldest !== undefined) this.#known.delete(oldest);
    }
    try {
      const found = await identity;
      // Only tokens that exist are kept, so that guesses cannot push them out and a new one works at once.
      if (found === undefined) this.#known.delete(key);
      return found;
    } catch (error) {
      this.#known.delete(key);
      throw error;
    }
  }

  /** Forgets everything; the next requests ask again. */
  clear(): void {
    this.#known.clear();
  }
}
