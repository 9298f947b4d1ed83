import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { Readable } from "node:stream";
import { type Digest, fleetError, isFleetError } from "@bulkhead/contracts";
import type { BlobStore } from "../blobs/blob-store.ts";
import { isFull } from "../blobs/disk-full.ts";
import type { StagedBlob } from "../blobs/staging.ts";
import { digestOf } from "../digest.ts";
import { type ImageLimits, defaultLimits } from "../limits.ts";
import { type Candidate, verifyDiffId } from "./candidate.ts";
import { DirectoryParts } from "./directory-parts.ts";
import { type ImportedImage, imported } from "./imported-image.ts";
import { isDockerArchive, readDockerArchive, readDockerTags } from "./docker-archive.ts";
import { isOciLayout, readOciLayout } from "./oci-layout.ts";
import type { ArchiveParts } from "./parts.ts";
import { TarParts } from "./tar-parts.ts";

/** An image of an archive before it is stored. */
export interface ArchivedImage {
  readonly manifest: Buffer;
  readonly manifestDigest: Digest;
  readonly names: readonly string[];
}

export interface ImportOptions {
  readonly limits?: Partial<ImageLimits>;
  readonly signal?: AbortSignal;
  /** looks at each image when all are verified and none is stored; what it throws refuses the archive */
  readonly judge?: (image: ArchivedImage) => Promise<void>;
}

const openParts = async (
  source: Readable | string,
  store: BlobStore,
  options: ImportOptions & { all: ImageLimits },
) => {
  if (typeof source === "string" && (await stat(source)).isDirectory()) return DirectoryParts.open(source, store);
  // A stream that was passed in stays open: destroying a request would take away the connection of its answer.
  const stream = typeof source === "string" ? createReadStream(source) : source.iterator({ destroyOnReturn: false });
  return TarParts.read(stream, store, {
    limits: options.all,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  });
};

async function* candidates(parts: ArchiveParts, limits: ImageLimits): AsyncGenerator<Candidate> {
  const docker = await isDockerArchive(parts);
  if (!(await isOciLayout(parts))) {
    if (!docker) {
      throw fleetError(
        "IMAGE_INVALID",
        "the archive is neither an OCI image layout (index.json) nor a docker-archive (manifest.json)",
      );
    }
    yield* readDockerArchive(parts, limits);
    return;
  }
  const tags = docker ? await readDockerTags(parts, limits) : new Map<string, readonly string[]>();
  for await (const found of readOciLayout(parts, limits)) {
    // A docker-archive's tag is a whole name where the index has the bare tag.
    const whole = tags.get(found.config.digest) ?? [];
    yield whole.length === 0 ? found : { ...found, names: whole };
  }
}

const store = async (found: Candidate, blobs: BlobStore, committed: Map<Digest, number>): Promise<ImportedImage> => {
  const put = async (staged: StagedBlob) => {
    if (!committed.has(staged.digest)) await blobs.commit(staged);
    committed.set(staged.digest, staged.sizeBytes);
  };
  for (const layer of found.layers) await put(layer.blob);
  await put(found.config);
  // The manifest last: who finds it finds everything it names.
  const manifestDigest = digestOf(found.manifest);
  await blobs.put(manifestDigest, Readable.from([found.manifest]));
  return imported({
    manifest: found.manifest,
    configBlob: found.config,
    parsed: found.parsed,
    layers: found.layers.map(({ blob }) => blob),
    names: found.names,
  });
};

/**
 * Imports every linux/amd64 image of an OCI image layout (tar or directory) or docker-archive, compressed with gzip,
 * zstd or not. Everything is verified before anything gets its name, so a refused archive leaves nothing behind.
 * A stream that is refused is left where reading stopped, open; the caller ends it. Rejects IMAGE_INVALID,
 * IMAGE_DIGEST_MISMATCH, IMAGE_TOO_LARGE, RUNTIME_FAILED when the disk is full, and what the stream fails with.
 */
export const importArchive = async (
  source: Readable | string,
  blobs: BlobStore,
  options: ImportOptions = {},
): Promise<readonly ImportedImage[]> => {
  const limits = { ...defaultLimits, ...options.limits };
  try {
    await using parts = await openParts(source, blobs, { ...options, all: limits });
    const found: Candidate[] = [];
    for await (const candidate of candidates(parts, limits)) {
      if (found.push(candidate) > limits.maxImages) {
        throw fleetError("IMAGE_TOO_LARGE", `the archive has more than ${limits.maxImages} images`);
      }
    }
    if (found.length === 0) throw fleetError("IMAGE_INVALID", "the archive has no image for linux/amd64");
    const verified = new Set<string>();
    for (const { layers, parsed } of found) {
      for (const [at, { blob }] of layers.entries()) {
        options.signal?.throwIfAborted();
        const diffId = parsed.diffIds[at] ?? blob.digest;
        const pair = `${blob.digest} ${diffId}`;
        if (!verified.has(pair)) await verifyDiffId(blob, diffId, limits);
        verified.add(pair);
      }
    }
    for (const { manifest, names } of found) {
      await options.judge?.({ manifest, manifestDigest: digestOf(manifest), names });
    }
    const committed = new Map<Digest, number>();
    const imported = new Map<Digest, ImportedImage>();
    for (const candidate of found) {
      const image = await store(candidate, blobs, committed);
      const names = new Set([...(imported.get(image.manifestDigest)?.names ?? []), ...image.names]);
      imported.set(image.manifestDigest, { ...image, names: [...names] });
    }
    return [...imported.values()];
  } catch (cause) {
    if (isFleetError(cause) || !isFull(cause)) throw cause;
    throw fleetError("RUNTIME_FAILED", "the disk of the image store is full; free space and import again", { cause });
  }
};
