import { type Digest, fleetError } from "@bulkhead/contracts";
import { type Static, Type } from "typebox";
import { parseDigest } from "../digest.ts";
import { parseDocument } from "./document.ts";

export const mediaTypes = {
  manifest: "application/vnd.oci.image.manifest.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
  layerGzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  layerZstd: "application/vnd.oci.image.layer.v1.tar+zstd",
} as const;

const manifestTypes = new Set<string>([mediaTypes.manifest, "application/vnd.docker.distribution.manifest.v2+json"]);
const indexTypes = new Set<string>([mediaTypes.index, "application/vnd.docker.distribution.manifest.list.v2+json"]);

const Platform = Type.Object({
  architecture: Type.String(),
  os: Type.String(),
  variant: Type.Optional(Type.String()),
});

const Annotations = Type.Optional(Type.Record(Type.String(), Type.String()));

const RawDescriptor = Type.Object({
  mediaType: Type.Optional(Type.String()),
  digest: Type.String(),
  size: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }),
  platform: Type.Optional(Platform),
  annotations: Annotations,
});

const RawManifest = Type.Object({
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Type.String()),
  config: RawDescriptor,
  layers: Type.Array(RawDescriptor),
});

const RawIndex = Type.Object({
  schemaVersion: Type.Literal(2),
  mediaType: Type.Optional(Type.String()),
  manifests: Type.Array(RawDescriptor, { maxItems: 10_000 }),
});

export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly platform: { readonly architecture: string; readonly os: string } | undefined;
  readonly annotations: Readonly<Record<string, string>>;
}

export interface Manifest {
  readonly config: Descriptor;
  /** lowest first, as the format has them */
  readonly layers: readonly Descriptor[];
}

const descriptor = (raw: Static<typeof RawDescriptor>, what: string): Descriptor => ({
  mediaType: raw.mediaType ?? "",
  digest: parseDigest(raw.digest, what),
  sizeBytes: raw.size,
  platform: raw.platform,
  annotations: raw.annotations ?? {},
});

export const isIndex = (entry: Descriptor): boolean => indexTypes.has(entry.mediaType);
export const isManifest = (entry: Descriptor): boolean => manifestTypes.has(entry.mediaType);

/** OCI image manifest or Docker's schema 2. Throws IMAGE_INVALID; IMAGE_TOO_LARGE above `maxLayers`. */
export const parseManifest = (bytes: Uint8Array, what: string, maxLayers: number): Manifest => {
  const raw = parseDocument(RawManifest, bytes, what);
  if (raw.mediaType !== undefined && !manifestTypes.has(raw.mediaType)) {
    throw fleetError("IMAGE_INVALID", `${what} has the media type "${raw.mediaType}", not an image manifest's`);
  }
  if (raw.layers.length > maxLayers) {
    throw fleetError("IMAGE_TOO_LARGE", `${what} has ${raw.layers.length} layers, more than ${maxLayers}`);
  }
  return {
    config: descriptor(raw.config, `${what}, config`),
    layers: raw.layers.map((layer, at) => descriptor(layer, `${what}, layer ${at}`)),
  };
};

/** OCI image index or Docker's manifest list. Throws IMAGE_INVALID. */
export const parseIndex = (bytes: Uint8Array, what: string): readonly Descriptor[] =>
  parseDocument(RawIndex, bytes, what).manifests.map((entry, at) => descriptor(entry, `${what}, manifest ${at}`));

/** Bytes of an OCI manifest; equal input gives equal bytes, so an image imported twice has one digest. */
export const encodeManifest = (manifest: {
  config: Pick<Descriptor, "digest" | "sizeBytes">;
  layers: readonly Pick<Descriptor, "mediaType" | "digest" | "sizeBytes">[];
}): Buffer =>
  Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: { mediaType: mediaTypes.config, digest: manifest.config.digest, size: manifest.config.sizeBytes },
      layers: manifest.layers.map(({ mediaType, digest, sizeBytes }) => ({ mediaType, digest, size: sizeBytes })),
    }),
  );
