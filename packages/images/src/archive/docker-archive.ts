import { fleetError } from "@bulkhead/contracts";
import { Type } from "typebox";
import type { StagedBlob } from "../blobs/staging.ts";
import { compressionOf, peek } from "../compression/decompress.ts";
import type { ImageLimits } from "../limits.ts";
import { parseDocument } from "../oci/document.ts";
import { parseConfig, requireLinuxAmd64 } from "../oci/image-config.ts";
import { encodeManifest, mediaTypes } from "../oci/manifest.ts";
import { type Candidate, type CandidateLayer, requireLayerCount } from "./candidate.ts";
import { type ArchiveParts, readPart } from "./parts.ts";

const DockerManifest = Type.Array(
  Type.Object({
    Config: Type.String(),
    RepoTags: Type.Optional(Type.Union([Type.Array(Type.String()), Type.Null()])),
    Layers: Type.Union([Type.Array(Type.String()), Type.Null()]),
  }),
  { maxItems: 1000 },
);

const layerTypes = { none: mediaTypes.layer, gzip: mediaTypes.layerGzip, zstd: mediaTypes.layerZstd } as const;

const layerOf = async (parts: ArchiveParts, name: string): Promise<CandidateLayer> => {
  const blob = await parts.find(name);
  if (blob === undefined) throw fleetError("IMAGE_INVALID", `layer "${name.slice(0, 200)}" is not in the archive`);
  return { blob, mediaType: layerTypes[compressionOf(await headOf(blob), name)] };
};

const headOf = async (blob: StagedBlob): Promise<Uint8Array> => {
  const { head, whole } = await peek(blob.read(), 6);
  await whole.return(undefined);
  return head;
};

/** True when the archive was made by `docker save` or a tool that writes its format. */
export const isDockerArchive = async (parts: ArchiveParts): Promise<boolean> =>
  (await parts.find("manifest.json")) !== undefined;

/** Tags by configuration, for archives that are both: the OCI index of `docker save` may lack the names. */
export const readDockerTags = async (
  parts: ArchiveParts,
  limits: ImageLimits,
): Promise<ReadonlyMap<string, readonly string[]>> => {
  const tags = new Map<string, readonly string[]>();
  for (const image of await readImages(parts, limits)) {
    const config = await parts.find(image.Config);
    if (config !== undefined) tags.set(config.digest, image.RepoTags ?? []);
  }
  return tags;
};

const readImages = async (parts: ArchiveParts, limits: ImageLimits) =>
  parseDocument(
    DockerManifest,
    await readPart(await parts.find("manifest.json"), { what: "manifest.json", maxBytes: limits.maxDocumentBytes }),
    "manifest.json",
  );

/**
 * Every image of a docker-archive, with an OCI manifest made for it. Layers are stored as they are: not compressing
 * them keeps their digests equal to their diff ids.
 */
export async function* readDockerArchive(parts: ArchiveParts, limits: ImageLimits): AsyncGenerator<Candidate> {
  for (const image of await readImages(parts, limits)) {
    const what = `configuration "${image.Config.slice(0, 200)}"`;
    const config = await parts.find(image.Config);
    const parsed = parseConfig(await readPart(config, { what, maxBytes: limits.maxDocumentBytes }), what);
    if (config === undefined) throw fleetError("IMAGE_INVALID", `${what} is not in the archive`);
    requireLinuxAmd64(parsed.config, what);
    const names = image.Layers ?? [];
    if (names.length > limits.maxLayers) {
      throw fleetError("IMAGE_TOO_LARGE", `the image has ${names.length} layers, more than ${limits.maxLayers}`);
    }
    requireLayerCount(parsed, names, what);
    const layers: CandidateLayer[] = [];
    for (const name of names) layers.push(await layerOf(parts, name));
    const manifest = encodeManifest({
      config,
      layers: layers.map(({ blob, mediaType }) => ({ mediaType, digest: blob.digest, sizeBytes: blob.sizeBytes })),
    });
    yield { manifest, config, parsed, layers, names: image.RepoTags ?? [] };
  }
}
