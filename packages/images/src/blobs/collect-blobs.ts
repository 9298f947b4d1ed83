import { type Digest, fleetError } from "@bulkhead/contracts";
import { parseManifest } from "../oci/manifest.ts";
import { defaultLimits } from "../limits.ts";
import type { BlobStore } from "./blob-store.ts";

/**
 * Removes blobs that no manifest in `inUse` names and that were put before `olderThanMs` ago, and answers which. The
 * age protects imports and pulls that have stored blobs and not yet told the database of their image. Rejects RUNTIME_FAILED,
 * with nothing removed, when a manifest in use is missing or damaged: it would not be known what it needs.
 */
export const collectBlobs = async (
  store: BlobStore,
  inUse: ReadonlySet<Digest>,
  options: { olderThanMs: number },
): Promise<readonly Digest[]> => {
  const beforeMs = Date.now() - options.olderThanMs;
  const kept = new Set<Digest>(inUse);
  for (const digest of inUse) {
    const bytes = await store.read(digest, defaultLimits.maxDocumentBytes).catch((cause: unknown) => {
      throw fleetError("RUNTIME_FAILED", `the image ${digest} is in use and cannot be read; nothing was removed`, {
        cause,
      });
    });
    const manifest = parseManifest(bytes, `manifest ${digest}`, Infinity);
    for (const blob of [manifest.config, ...manifest.layers]) kept.add(blob.digest);
  }
  const removed: Digest[] = [];
  for await (const { digest, modifiedMs } of store.list()) {
    if (kept.has(digest) || modifiedMs >= beforeMs) continue;
    if (await store.deleteUnused(digest, beforeMs)) removed.push(digest);
  }
  return removed;
};
