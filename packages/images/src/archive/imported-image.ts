import type { Digest, ImageConfig } from "@bulkhead/contracts";
import { digestOf } from "../digest.ts";
import type { ParsedConfig } from "../oci/image-config.ts";

export interface ImportedLayer {
  readonly digest: Digest;
  readonly diffId: Digest;
  readonly sizeBytes: number;
}

export interface ImportedImage {
  readonly manifestDigest: Digest;
  readonly configDigest: Digest;
  /** lowest first; sizes are as stored */
  readonly layers: readonly ImportedLayer[];
  /** manifest, configuration and layers as stored; a layer used twice counts once */
  readonly sizeBytes: number;
  /** names the archive gives the image, as it writes them */
  readonly names: readonly string[];
  readonly config: ImageConfig;
  readonly volumes: readonly string[];
}

interface StoredBlob {
  readonly digest: Digest;
  readonly sizeBytes: number;
}

/** What is known of an image whose blobs are all stored. */
export const imported = (image: {
  readonly manifest: Buffer;
  readonly configBlob: StoredBlob;
  readonly parsed: ParsedConfig;
  readonly layers: readonly StoredBlob[];
  readonly names: readonly string[];
}): ImportedImage => {
  const { manifest, configBlob, parsed, layers, names } = image;
  const sizes = new Map(layers.map(({ digest, sizeBytes }) => [digest, sizeBytes]));
  let sizeBytes = manifest.byteLength + configBlob.sizeBytes;
  for (const bytes of sizes.values()) sizeBytes += bytes;
  return {
    manifestDigest: digestOf(manifest),
    configDigest: configBlob.digest,
    layers: layers.map(({ digest, sizeBytes: bytes }, at) => ({
      digest,
      diffId: parsed.diffIds[at] ?? digest,
      sizeBytes: bytes,
    })),
    sizeBytes,
    names,
    config: parsed.config,
    volumes: parsed.volumes,
  };
};
