import { isFleetError, type Assignment, type Digest } from "@bulkhead/contracts";
import { HttpBlobFetcher, type EnsuredImage, type LayerStore } from "@bulkhead/images";
import type { Log } from "@bulkhead/node";
import type { Membership } from "./membership.ts";

/** Images of the fleet: fetched by digest from the scheduler, verified and unpacked once on this host. */
export class FleetImages {
  readonly #layers: LayerStore;
  readonly #apiUrl: string;
  readonly #membership: Promise<Pick<Membership, "credential" | "renew">>;
  readonly #keepMs: number;
  readonly #log: Log;
  /** images known to be on this host; a start asks for one each time */
  readonly #ready = new Map<Digest, EnsuredImage>();

  constructor(options: {
    layers: LayerStore;
    apiUrl: string;
    /** settles when this host has joined: images come with the credential it gets */
    membership: Promise<Pick<Membership, "credential" | "renew">>;
    /** how long an unused image stays, in milliseconds: the next start of it needs no fetching */
    keepMs: number;
    log: Log;
  }) {
    this.#layers = options.layers;
    this.#apiUrl = options.apiUrl;
    this.#membership = options.membership;
    this.#keepMs = options.keepMs;
    this.#log = options.log;
  }

  async ensure(assignment: Assignment, signal: AbortSignal): Promise<EnsuredImage> {
    const known = this.#ready.get(assignment.imageDigest);
    if (known !== undefined) return known;
    const image = await this.#fetch(assignment, signal);
    this.#ready.set(assignment.imageDigest, image);
    return image;
  }

  async #fetch(assignment: Assignment, signal: AbortSignal): Promise<EnsuredImage> {
    const membership = await this.#membership;
    const attempt = (): Promise<EnsuredImage> =>
      this.#layers.ensureImage(
        assignment.imageDigest,
        new HttpBlobFetcher({
          baseUrl: this.#apiUrl,
          repository: assignment.project,
          token: () => membership.credential.httpToken,
        }),
        { signal },
      );
    try {
      return await attempt();
    } catch (error) {
      // A control plane that was restored or emptied does not know the token it once gave.
      if (!isFleetError(error) || error.code !== "UNAUTHENTICATED") throw error;
      await membership.renew("the scheduler refused our token");
      return attempt();
    }
  }

  /**
   * Removes what no instance of this host uses. An image given out since the last time stays until the next: whoever
   * got it may not have begun to use it. Never rejects.
   */
  async collect(inUse: ReadonlySet<Digest>): Promise<void> {
    const lately = [...this.#ready.keys()];
    for (const digest of lately) if (!inUse.has(digest)) this.#ready.delete(digest);
    try {
      const collected = await this.#layers.collectGarbage(new Set([...inUse, ...lately]), {
        olderThanMs: this.#keepMs,
      });
      this.#log.debug({ ...collected }, "unused images removed");
    } catch (err) {
      this.#log.warn({ err }, "unused images not removed");
    }
  }
}
