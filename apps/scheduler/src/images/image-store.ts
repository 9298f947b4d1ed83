import type { Readable } from "node:stream";
import { BlobStore, ImagePolicy, ImagePuller, type RegistryTimes, collectBlobs, importArchive } from "@bulkhead/images";
import type { ImageStore } from "../ports.ts";

/** Unused blobs younger than this stay, in milliseconds: an import stores blobs before the row that refers to them. */
const youngMs = 60 * 60 * 1000;
/** Parts of blobs that nobody has come back for stay this long. */
const partialMs = 24 * 60 * 60 * 1000;

export interface ImageStoreOptions {
  /** a directory that several schedulers may share */
  readonly root: string;
  readonly maxBytes: number;
  /** as in ImagePullerOptions */
  readonly settingsFile?: string;
  readonly credentialsFile?: string;
  /** rules for what may enter; without it everything may */
  readonly policyFile?: string;
  readonly pullMs?: number;
  readonly times?: RegistryTimes;
}

/** The image store over a directory. */
export const openImageStore = async (options: ImageStoreOptions): Promise<ImageStore> => {
  const { root, maxBytes, policyFile, ...registries } = options;
  const blobs = await BlobStore.open({ root, maxBlobBytes: maxBytes });
  const policy = new ImagePolicy(policyFile);
  const limits = { maxArchiveBytes: maxBytes };
  const puller = await ImagePuller.open({ root, blobs, policy, limits, ...registries });
  return {
    import: (archive, { project, name, signal }) =>
      importArchive(archive, blobs, {
        limits,
        signal,
        judge: async ({ manifest, manifestDigest, names }) => {
          const reference = `archive:${name ?? names[0] ?? manifestDigest}`;
          await policy.judge({ project, reference, digests: [manifestDigest], manifest, signal });
        },
      }),
    pull: (request) => puller.pull(request),
    stat: (digest) => blobs.stat(digest),
    open: async (digest, start): Promise<Readable> => (await blobs.open(digest, { start })).stream,
    read: (digest, maxBlobBytes) => blobs.read(digest, maxBlobBytes),
    collect: async (inUse) => {
      const blobsGone = await collectBlobs(blobs, new Set(inUse), { olderThanMs: youngMs });
      return blobsGone.length + (await puller.sweep({ olderThanMs: partialMs }));
    },
  };
};
