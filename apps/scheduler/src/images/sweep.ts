import type { Digest } from "@bulkhead/contracts";
import type { ImageStore } from "../ports.ts";

/**
 * Blobs younger than this stay, in milliseconds: another scheduler that shares the directory may be importing, and a
 * blob is stored before the row that refers to it.
 */
const youngMs = 60 * 60 * 1000;
/** Largest manifest that is read, in bytes; registries refuse more than 4 MiB. */
const manifestMaxBytes = 4 * 1024 * 1024;

interface Manifest {
  readonly config: { readonly digest: Digest };
  readonly layers: readonly { readonly digest: Digest }[];
}

export interface SweepOptions {
  readonly images: Pick<ImageStore, "read" | "list" | "stat" | "delete">;
  /** manifests of all images in the database */
  readonly inUse: () => Promise<readonly Digest[]>;
  /** since the epoch, in milliseconds */
  readonly nowMs: number;
}

/**
 * Deletes blobs that no image of any project refers to. Resolves to their number. Rejects, and deletes nothing, when a
 * manifest cannot be read: what it refers to is not known then.
 */
export const sweepBlobs = async ({ images, inUse, nowMs }: SweepOptions): Promise<number> => {
  // The candidates first: an image imported later makes one of them needed only by storing it again.
  const old: Digest[] = [];
  for await (const { digest, modifiedMs } of images.list()) if (nowMs - modifiedMs > youngMs) old.push(digest);
  if (old.length === 0) return 0;
  const needed = new Set<Digest>();
  for (const digest of await inUse()) {
    const manifest = JSON.parse((await images.read(digest, manifestMaxBytes)).toString("utf8")) as Manifest;
    needed.add(digest).add(manifest.config.digest);
    for (const layer of manifest.layers) needed.add(layer.digest);
  }
  let deleted = 0;
  for (const digest of old.filter((candidate) => !needed.has(candidate))) {
    const now = await images.stat(digest);
    // Stored again since it was listed: an import needs it.
    if (now === undefined || nowMs - now.modifiedMs <= youngMs) continue;
    await images.delete(digest);
    deleted += 1;
  }
  return deleted;
};
