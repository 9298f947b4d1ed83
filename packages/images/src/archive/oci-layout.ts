import { type Digest, fleetError } from "@bulkhead/contracts";
import { Type } from "typebox";
import type { StagedBlob } from "../blobs/staging.ts";
import { hexOf } from "../digest.ts";
import type { ImageLimits } from "../limits.ts";
import { parseDocument } from "../oci/document.ts";
import { parseConfig, requireLinuxAmd64 } from "../oci/image-config.ts";
import { type Descriptor, isIndex, isManifest, parseIndex, parseManifest } from "../oci/manifest.ts";
import { runsHere } from "../oci/platform.ts";
import { type Candidate, requireLayerCount } from "./candidate.ts";
import { type ArchiveParts, readPart } from "./parts.ts";

const Marker = Type.Object({ imageLayoutVersion: Type.String({ pattern: "^1\\." }) });

/** Indexes may nest; deeper than this is no honest image. */
const maxDepth = 4;

const refName = "org.opencontainers.image.ref.name";
/** containerd and buildkit write the whole name here and the bare tag above. */
const containerdName = "io.containerd.image.name";

class Layout {
  readonly #parts: ArchiveParts;
  readonly #limits: ImageLimits;

  constructor(parts: ArchiveParts, limits: ImageLimits) {
    this.#parts = parts;
    this.#limits = limits;
  }

  /** The blob, whose bytes are proved to have its digest and size. */
  async blob(digest: Digest, sizeBytes: number): Promise<StagedBlob> {
    const part = await this.#parts.find(`blobs/sha256/${hexOf(digest)}`);
    if (part === undefined) throw fleetError("IMAGE_INVALID", `${digest} is not in the archive`);
    if (part.digest !== digest) {
      throw fleetError("IMAGE_DIGEST_MISMATCH", `the blob named ${digest} has the digest ${part.digest}`);
    }
    if (part.sizeBytes !== sizeBytes) {
      throw fleetError("IMAGE_INVALID", `${digest} has ${part.sizeBytes} bytes; its descriptor says ${sizeBytes}`);
    }
    return part;
  }

  async document(entry: Descriptor): Promise<Buffer> {
    const blob = await this.blob(entry.digest, entry.sizeBytes);
    return readPart(blob, { what: entry.digest, maxBytes: this.#limits.maxDocumentBytes });
  }

  /** Manifests for linux/amd64 below one entry of the index. */
  async *images(entry: Descriptor, depth = 0): AsyncGenerator<Descriptor> {
    if (!runsHere(entry)) return;
    if (isManifest(entry)) {
      yield entry;
    } else if (isIndex(entry)) {
      if (depth >= maxDepth) throw fleetError("IMAGE_INVALID", `the index nests deeper than ${maxDepth} levels`);
      for (const inner of parseIndex(await this.document(entry), entry.digest)) yield* this.images(inner, depth + 1);
    }
  }

  async candidate(entry: Descriptor, names: readonly string[]): Promise<Candidate> {
    const manifest = await this.document(entry);
    const parsedManifest = parseManifest(manifest, `manifest ${entry.digest}`, this.#limits.maxLayers);
    const config = await this.blob(parsedManifest.config.digest, parsedManifest.config.sizeBytes);
    const what = `configuration ${config.digest}`;
    const parsed = parseConfig(await readPart(config, { what, maxBytes: this.#limits.maxDocumentBytes }), what);
    requireLinuxAmd64(parsed.config, what);
    requireLayerCount(parsed, parsedManifest.layers, `manifest ${entry.digest}`);
    const layers = [];
    for (const layer of parsedManifest.layers) {
      layers.push({ blob: await this.blob(layer.digest, layer.sizeBytes), mediaType: layer.mediaType });
    }
    return { manifest, config, parsed, layers, names };
  }
}

const nameOf = ({ annotations }: Descriptor): readonly string[] => {
  const name = annotations[containerdName] ?? annotations[refName];
  return name === undefined || name === "" ? [] : [name];
};

/** True when the archive is an OCI image layout. */
export const isOciLayout = async (parts: ArchiveParts): Promise<boolean> =>
  (await parts.find("oci-layout")) !== undefined && (await parts.find("index.json")) !== undefined;

/** Every linux/amd64 image of an OCI image layout (image-spec image-layout.md). */
export async function* readOciLayout(parts: ArchiveParts, limits: ImageLimits): AsyncGenerator<Candidate> {
  const read = async (name: string) =>
    readPart(await parts.find(name), { what: name, maxBytes: limits.maxDocumentBytes });
  parseDocument(Marker, await read("oci-layout"), "oci-layout");
  const layout = new Layout(parts, limits);
  const names = new Map<Digest, { entry: Descriptor; names: Set<string> }>();
  for (const entry of parseIndex(await read("index.json"), "index.json")) {
    for await (const image of layout.images(entry)) {
      const known = names.get(image.digest) ?? { entry: image, names: new Set<string>() };
      for (const name of [...nameOf(entry), ...nameOf(image)]) known.names.add(name);
      names.set(image.digest, known);
    }
  }
  for (const { entry, names: all } of names.values()) yield await layout.candidate(entry, [...all]);
}
