import type { Digest } from "@bulkhead/contracts";
import { digestOf, mediaTypes, tarEnd, tarEntry } from "@bulkhead/images";

export interface LayoutParts {
  /** uncompressed tar bytes, lowest first */
  readonly layers: readonly Buffer[];
  readonly config?: Readonly<Record<string, unknown>>;
  readonly platform?: { readonly os: string; readonly architecture: string };
  readonly names?: readonly string[];
  readonly diffIds?: readonly string[];
  /** changes the blobs after their digests were taken: name of the blob to its bytes, or undefined to leave it out */
  readonly spoil?: (blob: { kind: "manifest" | "config" | "layer"; bytes: Buffer }) => Buffer | undefined;
}

export interface LayoutBytes {
  readonly archive: Buffer;
  readonly manifest: Buffer;
  readonly manifestDigest: Digest;
  readonly config: Buffer;
  readonly layers: readonly Buffer[];
}

const blobName = (bytes: Buffer): string => `blobs/sha256/${digestOf(bytes).slice("sha256:".length)}`;

const describe = (mediaType: string, bytes: Buffer) => ({ mediaType, digest: digestOf(bytes), size: bytes.byteLength });

/** An OCI image layout in memory, right unless `spoil` makes it wrong. */
export const layoutBytes = (parts: LayoutParts): LayoutBytes => {
  const platform = parts.platform ?? { os: "linux", architecture: "amd64" };
  const config = Buffer.from(
    JSON.stringify({
      ...platform,
      config: { Cmd: ["/bin/sh"], ...parts.config },
      rootfs: { type: "layers", diff_ids: parts.diffIds ?? parts.layers.map(digestOf) },
    }),
  );
  const layers = parts.layers.map((bytes) => describe(mediaTypes.layer, bytes));
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.manifest,
      config: describe(mediaTypes.config, config),
      layers,
    }),
  );
  const entry = describe(mediaTypes.manifest, manifest);
  const manifests = (parts.names ?? ["spoilt:latest"]).map((name) => ({
    ...entry,
    annotations: { "org.opencontainers.image.ref.name": name },
  }));
  const spoil = parts.spoil ?? (({ bytes }) => bytes);
  const blobs = [
    { kind: "manifest", bytes: manifest } as const,
    { kind: "config", bytes: config } as const,
    ...parts.layers.map((bytes) => ({ kind: "layer", bytes }) as const),
  ];
  const written = blobs.flatMap((blob) => {
    const spoilt = spoil(blob);
    return spoilt === undefined ? [] : [tarEntry({ name: blobName(blob.bytes) }, spoilt)];
  });
  const archive = Buffer.concat([
    tarEntry({ name: "oci-layout" }, JSON.stringify({ imageLayoutVersion: "1.0.0" })),
    tarEntry({ name: "index.json" }, JSON.stringify({ schemaVersion: 2, manifests })),
    ...written,
    tarEnd,
  ]);
  return { archive, manifest, manifestDigest: digestOf(manifest), config, layers: parts.layers };
};
