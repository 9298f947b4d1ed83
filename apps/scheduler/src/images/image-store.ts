import type { Readable } from "node:stream";
import { BlobStore, collectBlobs, importArchive } from "@bulkhead/images";
import type { ImageStore } from "../ports.ts";

/** Unused blobs younger than this stay, in milliseconds: an import stores blobs before the row that refers to them. */
const youngMs = 60 * 60 * 1000;

/** The image store over a directory that several schedulers may share. */
export const openImageStore = async (root: string, maxBytes: number): Promise<ImageStore> => {
  const blobs = await BlobStore.open({ root, maxBlobBytes: maxBytes });
  return {
    import: (archive, signal) => importArchive(archive, blobs, { limits: { maxArchiveBytes: maxBytes }, signal }),
    stat: (digest) => blobs.stat(digest),
    open: async (digest, start): Promise<Readable> => (await blobs.open(digest, { start })).stream,
    read: (digest, maxBlobBytes) => blobs.read(digest, maxBlobBytes),
    collect: async (inUse) => (await collectBlobs(blobs, new Set(inUse), { olderThanMs: youngMs })).length,
  };
};
