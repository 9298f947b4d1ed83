import { gzipSync, zstdCompressSync } from "node:zlib";
import type { Digest } from "@bulkhead/contracts";
import { digestOf, mediaTypes } from "@bulkhead/images";

export interface RegistryImageParts {
  /** uncompressed tar bytes, lowest first */
  readonly layers: readonly Buffer[];
  readonly compression?: "none" | "gzip" | "zstd";
  readonly platform?: { readonly os: string; readonly architecture: string };
  readonly env?: readonly string[];
  readonly diffIds?: readonly string[];
  /** Docker's media types in place of OCI's */
  readonly docker?: boolean;
  /** changes the manifest before it is written */
  readonly change?: (manifest: { config: Described; layers: Described[] }) => object;
}

export interface Described {
  mediaType: string;
  digest: string;
  size: number;
}

/** An image as registries hold it: documents and blobs by digest. */
export interface RegistryImage {
  readonly manifest: Buffer;
  readonly mediaType: string;
  readonly digest: Digest;
  readonly blobs: ReadonlyMap<Digest, Buffer>;
  readonly layers: readonly Digest[];
}

const compressed = {
  none: (bytes: Buffer) => bytes,
  gzip: (bytes: Buffer) => gzipSync(bytes),
  zstd: (bytes: Buffer) => zstdCompressSync(bytes),
};

const layerTypes = { none: mediaTypes.layer, gzip: mediaTypes.layerGzip, zstd: mediaTypes.layerZstd };
const dockerTypes = {
  manifest: "application/vnd.docker.distribution.manifest.v2+json",
  config: "application/vnd.docker.container.image.v1+json",
  layer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
};

/** An image in memory, right unless `change` or `diffIds` make it wrong. */
export const registryImage = (parts: RegistryImageParts): RegistryImage => {
  const compression = parts.compression ?? "gzip";
  const stored = parts.layers.map(compressed[compression]);
  const config = Buffer.from(
    JSON.stringify({
      ...(parts.platform ?? { os: "linux", architecture: "amd64" }),
      config: { Cmd: ["/bin/sh"], Env: parts.env ?? [] },
      rootfs: { type: "layers", diff_ids: parts.diffIds ?? parts.layers.map(digestOf) },
    }),
  );
  const describe = (mediaType: string, bytes: Buffer): Described => ({
    mediaType,
    digest: digestOf(bytes),
    size: bytes.byteLength,
  });
  const docker = parts.docker === true;
  const mediaType = docker ? dockerTypes.manifest : mediaTypes.manifest;
  const right = {
    schemaVersion: 2,
    mediaType,
    config: describe(docker ? dockerTypes.config : mediaTypes.config, config),
    layers: stored.map((bytes) => describe(docker ? dockerTypes.layer : layerTypes[compression], bytes)),
  };
  const manifest = Buffer.from(JSON.stringify(parts.change?.(right) ?? right));
  return {
    manifest,
    mediaType,
    digest: digestOf(manifest),
    blobs: new Map([config, ...stored].map((bytes) => [digestOf(bytes), bytes])),
    layers: stored.map(digestOf),
  };
};

/** An index of images for several platforms. */
export const registryIndex = (
  entries: readonly { readonly image: RegistryImage; readonly platform?: object; readonly annotations?: object }[],
): Buffer =>
  Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.index,
      manifests: entries.map(({ image, ...entry }) => ({
        mediaType: image.mediaType,
        digest: image.digest,
        size: image.manifest.byteLength,
        ...entry,
      })),
    }),
  );
