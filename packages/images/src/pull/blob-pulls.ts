import { fleetError } from "@bulkhead/contracts";
import type { BlobStore } from "../blobs/blob-store.ts";
import type { PartialBlobs } from "../blobs/partial-blobs.ts";
import type { StagedBlob } from "../blobs/staging.ts";
import type { Descriptor } from "../oci/manifest.ts";
import type { RepositorySource } from "../registry/source.ts";
import { SharedProgress } from "./shared-progress.ts";

/** How far one blob is. */
export interface BlobProgress {
  readonly state: "fetching" | "verifying";
  readonly doneBytes: number;
}

export interface BlobWish {
  readonly source: RepositorySource;
  readonly blob: Pick<Descriptor, "digest" | "sizeBytes">;
  /** looks at the content before it gets its name; wishes with the same `checked` have the same check */
  readonly check: (staged: StagedBlob) => Promise<void>;
  readonly checked: string;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: BlobProgress) => void;
}

/** Fetches blobs into the store: each once however many pulls want it, and never a byte that is kept from before. */
export class BlobPulls {
  readonly #blobs: BlobStore;
  readonly #partials: PartialBlobs;
  readonly #shared = new SharedProgress<void, BlobProgress>();

  constructor(parts: { blobs: BlobStore; partials: PartialBlobs }) {
    this.#blobs = parts.blobs;
    this.#partials = parts.partials;
  }

  /** Resolves when the blob is in the store. Rejects what the source, the check and the disk say. */
  async fetch(wish: BlobWish): Promise<void> {
    const { blob, checked, signal, onProgress } = wish;
    for (;;) {
      let mine = false;
      try {
        await this.#shared.run(`${blob.digest} ${checked}`, { signal, onProgress }, (shared, report) => {
          mine = true;
          return this.#fetch(wish, shared, report);
        });
        return;
      } catch (cause) {
        signal.throwIfAborted();
        // It failed with another pull's server and credential; ours may have it.
        if (mine) throw cause;
      }
    }
  }

  #fetch({ source, blob, check }: BlobWish, signal: AbortSignal, report: (progress: BlobProgress) => void) {
    return source.blob({ ...blob, signal }, async (bytes) => {
      for (let fresh = false; ; fresh = true) {
        await using partial = await this.#partials.claim(blob.digest, blob.sizeBytes);
        const inherited = partial.sizeBytes;
        report({ state: "fetching", doneBytes: inherited });
        if (inherited < blob.sizeBytes) {
          await partial.append(bytes(inherited), (doneBytes) => report({ state: "fetching", doneBytes }));
        }
        report({ state: "verifying", doneBytes: partial.sizeBytes });
        const staged = partial.staged();
        if (staged.digest === blob.digest) {
          try {
            await check(staged);
          } catch (cause) {
            await partial.discard();
            throw cause;
          }
          await this.#blobs.commit(staged);
          return;
        }
        await partial.discard();
        // What was kept may have come from another server that lied: once more from the first byte.
        if (inherited > 0 && !fresh) continue;
        throw fleetError("IMAGE_DIGEST_MISMATCH", `the content sent as ${blob.digest} has the digest ${staged.digest}`);
      }
    });
  }
}
