import type { Readable } from "node:stream";
import type { Digest } from "@bulkhead/contracts";
import { BlobStore, importArchive } from "@bulkhead/images";
import type { ImageStore } from "../ports.ts";

/** The image store over a directory that several schedulers may share. */
export const openImageStore = async (root: string, maxBytes: number): Promise<ImageStore> => {
  const blobs = await BlobStore.open({ root, maxBlobBytes: maxBytes });
  return {
    import: (archive, signal) => importArchive(archive, blobs, { limits: { maxArchiveBytes: maxBytes }, signal }),
    stat: (digest) => blobs.stat(digest),
    open: async (digest, start): Promise<Readable> => (await blobs.open(digest, { start })).stream,
    read: (digest, maxBlobBytes) => blobs.read(digest, maxBlobBytes),
    list: () => blobs.list(),
    delete: async (digest: Digest) => {
      await blobs.delete(digest);
    },
  };
};
