import type { Readable } from "node:stream";
import type { Digest } from "@bulkhead/contracts";

/** Where a host gets an image's content from. What it answers is not trusted: the store checks every digest. */
export interface BlobFetcher {
  /**
   * The content with this digest. `kind` matters to registries, which keep manifests apart (default "blob").
   * Rejects, or fails the stream with, IMAGE_UNAVAILABLE when it is not there or the source does not answer in time.
   */
  fetch(digest: Digest, signal: AbortSignal, kind?: "blob" | "manifest"): Promise<Readable>;
}
