import type { Assignment, LeaseGrant } from "@bulkhead/contracts";
import type { Clock } from "./clock.ts";
import type { LeasePage } from "./lease-page.ts";

/** Heartbeats whose answers still count: one a minute late is no news. */
const remembered = 30;
/** Schema default of `leaseMs`, in milliseconds. */
const defaultLeaseMs = 300_000;

export interface GrantResult {
  /** the page was renewed */
  readonly renewed: boolean;
  /** the leader holds another document than the one this host still has */
  readonly refetch: boolean;
}

/**
 * The host's lease. A renewal counts from when its heartbeat was sent, so a late answer grants no more than it should.
 * `confirmed` is stricter: renewed, and the leader said in the same answer that the host's document is the newest; only
 * then may something start that another host might have taken over while this one was away.
 */
export class Lease {
  readonly #page: LeasePage;
  readonly #clock: Clock;
  /** digest of the document named in each heartbeat, by its time of sending */
  readonly #sent = new Map<string, string | null>();
  #confirmedAtNs: bigint | null = null;
  #term: bigint;

  constructor(page: LeasePage, clock: Clock) {
    this.#page = page;
    this.#clock = clock;
    this.#term = page.read().term;
  }

  /** Notes a heartbeat before it is sent. */
  sent(sentAtBoottimeNs: string, digest: string | null): void {
    this.#sent.set(sentAtBoottimeNs, digest);
    const [oldest] = this.#sent.keys();
    if (this.#sent.size > remembered && oldest !== undefined) this.#sent.delete(oldest);
  }

  /** Takes an answer in. Answers to heartbeats this agent never sent, and those of deposed leaders, count for nothing. */
  answer(grant: LeaseGrant, currentDigest: string | null): GrantResult {
    const digest = this.#sent.get(grant.sentAtBoottimeNs);
    const term = BigInt(grant.term);
    if (digest === undefined || term < this.#term) return { renewed: false, refetch: false };
    this.#term = term;
    const sentAtNs = BigInt(grant.sentAtBoottimeNs);
    const renewed = grant.granted && sentAtNs > this.#page.read().renewedAtNs;
    if (renewed) this.#page.write({ renewedAtNs: sentAtNs, term });
    if (grant.granted && !grant.refetch && (this.#confirmedAtNs === null || sentAtNs > this.#confirmedAtNs)) {
      this.#confirmedAtNs = sentAtNs;
    }
    // A document that arrived after the heartbeat may already be the one the leader missed.
    return { renewed, refetch: grant.refetch && digest === currentDigest };
  }

  /** True when an assignment that may run only once may start here now. */
  holds({ spec }: Assignment): boolean {
    if (spec.onLoss !== "replace") return true;
    if (this.#confirmedAtNs === null) return false;
    return this.#clock.boottimeNs() < this.#confirmedAtNs + BigInt(spec.leaseMs ?? defaultLeaseMs) * 1_000_000n;
  }
}
