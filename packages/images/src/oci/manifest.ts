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

/** Media types of manifests and of indexes, ours first. */
export const manifestMediaTypes: ReadonlySet<string> = new Set([
  mediaTypes.manifest,
  "application/vnd.docker.distribution.manifest.v2+json",
]);
export const indexMediaTypes: ReadonlySet<string> = new Set([
  mediaTypes.index,
  "application/vnd.docker.distribution.manifest.list.v2+json",
]);

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
  readonly platform: { readonly architecture: string; readonly os: string; readonly variant?: string } | undefined;
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

const configMediaTypes = new Set<string>([mediaTypes.config, "application/vnd.docker.container.image.v1+json"]);

// Also Windows' base layers, which may not be distributed by others; registries that have them answer them.
const layerMediaType =
  /^application\/vnd\.(oci\.image\.layer\.(nondistributable\.)?v1\.tar(\+gzip|\+zstd)?|docker\.image\.rootfs\.(foreign\.)?diff\.tar(\.gzip|\.zstd)?)$/;

/** Throws IMAGE_INVALID for what registries hold besides images: charts, signatures, encrypted layers. */
export const requireImage = ({ config, layers }: Manifest, what: string): void => {
  if (!configMediaTypes.has(config.mediaType)) {
    throw fleetError(
      "IMAGE_INVALID",
      `${what} is no container image: its configuration has the media type "${config.mediaType}"`,
    );
  }
  const other = layers.find(({ mediaType }) => !layerMediaType.test(mediaType));
  if (other === undefined) return;
  throw fleetError(
    "IMAGE_INVALID",
    `${what}: the layer ${other.digest} has the media type "${other.mediaType}", which is not read`,
  );
};

export const isIndex = (entry: Descriptor): boolean => indexMediaTypes.has(entry.mediaType);
export const isManifest = (entry: Descriptor): boolean => manifestMediaTypes.has(entry.mediaType);

/** OCI image manifest or Docker's schema 2. Throws IMAGE_INVALID; IMAGE_TOO_LARGE above `maxLayers`. */
export const parseManifest = (bytes: Uint8Array, what: string, maxLayers: number): Manifest => {
  const raw = parseDocument(RawManifest, bytes, what);
  if (raw.mediaType !== undefined && !manifestMediaTypes.has(raw.mediaType)) {
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

const Either = Type.Object({
  schemaVersion: Type.Integer(),
  mediaType: Type.Optional(Type.String()),
  layers: Type.Optional(Type.Unknown()),
  manifests: Type.Optional(Type.Unknown()),
});

/**
 * What a document is, by its members: a registry's Content-Type may lie. Throws IMAGE_INVALID for one that could be read
 * as both (CVE-2021-41190) and for Docker's schema 1, which has no digests to verify.
 */
export const kindOfDocument = (bytes: Uint8Array, what: string): "index" | "manifest" => {
  const { schemaVersion, mediaType, layers, manifests } = parseDocument(Either, bytes, what);
  if (schemaVersion === 1) {
    throw fleetError("IMAGE_INVALID", `${what} has Docker's old schema 1; push the image again with a newer tool`);
  }
  if ((layers === undefined) === (manifests === undefined)) {
    throw fleetError("IMAGE_INVALID", `${what} is neither an image manifest nor an index, or claims to be both`);
  }
  const kind = manifests === undefined ? "manifest" : "index";
  const types = kind === "index" ? indexMediaTypes : manifestMediaTypes;
  if (mediaType !== undefined && !types.has(mediaType)) {
    throw fleetError("IMAGE_INVALID", `${what} has the media type "${mediaType}" and is no ${kind} of an image`);
  }
  return kind;
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
