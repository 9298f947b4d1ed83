import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  fleetError,
  HostCredential,
  isFleetError,
  type ClusterId,
  type Isolation,
  type JoinHost,
} from "@bulkhead/contracts";
import type { Log } from "@bulkhead/node";
import { Type, type Static } from "typebox";
import { joinFleet } from "./join.ts";
import { readPrivate, writePrivate } from "./private-file.ts";

const AgentKey = Type.Object({ publicKey: Type.String(), seed: Type.String() });
type AgentKey = Static<typeof AgentKey>;

export interface MembershipOptions {
  /** the host's state directory */
  readonly directory: string;
  readonly isolation: Isolation;
  readonly apiUrl: string;
  /** without it the host must have joined before */
  readonly joinTokenFile?: string;
  /** what the host says about itself */
  readonly describe: () => Promise<Omit<JoinHost, "publicKey">>;
  readonly makeKey: () => AgentKey;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** First and longest wait between attempts to join, in milliseconds. */
const firstDelayMs = 250;
const longestDelayMs = 10_000;
/** Between two renewals, in milliseconds: a scheduler that refuses our token is not asked in a loop. */
const renewalMs = 10_000;

/** This host's place in a fleet: its key, and the credential that the scheduler gave for it. */
export class Membership {
  readonly #options: MembershipOptions;
  readonly #key: AgentKey;
  /** the control plane this host obeyed before, when joining led it to another one */
  readonly left: ClusterId | null;
  #credential: HostCredential;
  #renewing: Promise<void> | null = null;
  #renewedAt = -Infinity;

  private constructor(
    options: MembershipOptions,
    held: { key: AgentKey; credential: HostCredential; left: ClusterId | null },
  ) {
    this.#options = options;
    this.#key = held.key;
    this.#credential = held.credential;
    this.left = held.left;
  }

  /**
   * Joins, or goes on with the credential of an earlier time when the scheduler does not answer now. A host that joins
   * again keeps its id and its instances, so every start may do it: a control plane that was emptied knows it then.
   * Rejects CONFIG_INVALID without token and credential, and the scheduler's error when it refuses a new host.
   */
  static async open(options: MembershipOptions): Promise<Membership> {
    const place = (name: string): string => join(options.directory, `${name}.${options.isolation}.json`);
    const saved = await readPrivate(place("credential"), HostCredential);
    let key = await readPrivate(place("key"), AgentKey);
    if (key === null) {
      // Kept before it is sent: a host that lost it could join again only with an administrator's token.
      key = options.makeKey();
      await writePrivate(place("key"), key);
    }
    if (options.joinTokenFile === undefined) {
      if (saved !== null) return new Membership(options, { key, credential: saved, left: null });
      throw fleetError(
        "CONFIG_INVALID",
        "BULKHEAD_JOIN_TOKEN_FILE is not set and this host has not joined a fleet before; make a join token and name its file.",
      );
    }
    const credential = await Membership.#join(options, key, saved);
    const moved = saved !== null && saved.clusterId !== credential.clusterId;
    return new Membership(options, { key, credential, left: moved ? saved.clusterId : null });
  }

  static async #attempt(options: MembershipOptions, key: AgentKey): Promise<HostCredential> {
    const token = (await readFile(options.joinTokenFile ?? "", "utf8")).trim();
    const body = { ...(await options.describe()), publicKey: key.publicKey };
    return joinFleet({ apiUrl: options.apiUrl, token, body, signal: options.signal });
  }

  static #save({ directory, isolation }: MembershipOptions, credential: HostCredential): Promise<void> {
    return writePrivate(join(directory, `credential.${isolation}.json`), credential);
  }

  static async #join(options: MembershipOptions, key: AgentKey, saved: HostCredential | null): Promise<HostCredential> {
    for (let waitMs = firstDelayMs; ; waitMs = Math.min(waitMs * 2, longestDelayMs)) {
      try {
        const credential = await Membership.#attempt(options, key);
        await Membership.#save(options, credential);
        return credential;
      } catch (err) {
        if (saved !== null && !options.signal.aborted) {
          options.log.warn({ err }, "could not join now, going on with the earlier credential");
          return saved;
        }
        const worthAnother = isFleetError(err) && err.code === "HOST_UNREACHABLE" && !options.signal.aborted;
        if (!worthAnother) throw err;
        options.log.warn({ err, waitMs }, "could not join, trying again");
      }
      await delay(waitMs, undefined, { signal: options.signal });
    }
  }

  get credential(): HostCredential {
    return this.#credential;
  }

  /** Seed of the host's user key on the bus; it never leaves this host. */
  get seed(): string {
    return this.#key.seed;
  }

  /** Joins again because something we hold is no longer good. Never rejects; at most once in 10 seconds. */
  async renew(why: string): Promise<void> {
    if (this.#renewing !== null) return this.#renewing;
    if (this.#options.joinTokenFile === undefined || performance.now() - this.#renewedAt < renewalMs) return;
    this.#renewedAt = performance.now();
    this.#renewing = this.#renewNow(why).finally(() => (this.#renewing = null));
    return this.#renewing;
  }

  async #renewNow(why: string): Promise<void> {
    const { log } = this.#options;
    try {
      const credential = await Membership.#attempt(this.#options, this.#key);
      if (credential.clusterId !== this.#credential.clusterId) {
        // It knows this host now and shows it as obeying another; a person decides, by a restart of the agent.
        const [ours, theirs] = [this.#credential.clusterId, credential.clusterId];
        log.error({ why, ours, theirs }, "the scheduler has another database; restart this agent to obey it");
        return;
      }
      this.#credential = credential;
      await Membership.#save(this.#options, credential);
      log.info({ why }, "joined again");
    } catch (err) {
      log.warn({ err, why }, "could not join again");
    }
  }
}
