import { type Digest, fleetError } from "@bulkhead/contracts";
import type { BlobStore } from "../blobs/blob-store.ts";

/** Keeps the blobs that a pull relies on younger than any sweep takes, until disposed of. */
export class KeptFresh implements AsyncDisposable {
  readonly #blobs: BlobStore;
  readonly #digests = new Set<Digest>();
  readonly #timer: NodeJS.Timeout;
  #renewing: Promise<void> = Promise.resolve();

  constructor(blobs: BlobStore, everyMs: number) {
    this.#blobs = blobs;
    this.#timer = setInterval(() => {
      this.#renewing = this.#renewing.then(() => this.#renew());
    }, everyMs);
    this.#timer.unref();
  }

  /** A failure to renew is found by `confirm`. */
  async #renew(): Promise<void> {
    for (const digest of this.#digests) await this.#blobs.touch(digest).catch(() => false);
  }

  /** False when the blob is not there. */
  async keep(digest: Digest): Promise<boolean> {
    if (!(await this.#blobs.touch(digest))) return false;
    this.#digests.add(digest);
    return true;
  }

  /** Rejects REGISTRY_UNAVAILABLE, which says to pull again, when somebody removed one of the blobs by hand. */
  async confirm(): Promise<void> {
    for (const digest of this.#digests) {
      if (await this.#blobs.touch(digest)) continue;
      throw fleetError("REGISTRY_UNAVAILABLE", `${digest} was removed from the store during the pull; pull again`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer);
    await this.#renewing;
  }
}
