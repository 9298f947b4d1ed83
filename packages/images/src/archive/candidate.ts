import { createHash } from "node:crypto";
import { type Digest, fleetError } from "@bulkhead/contracts";
import type { StagedBlob } from "../blobs/staging.ts";
import { decompress } from "../compression/decompress.ts";
import { digestOfHex } from "../digest.ts";
import type { ImageLimits } from "../limits.ts";
import type { ParsedConfig } from "../oci/image-config.ts";

export interface CandidateLayer {
  readonly blob: StagedBlob;
  readonly mediaType: string;
}

/** An image found in an archive, complete and consistent but for its layers' diff ids. */
export interface Candidate {
  /** the manifest's bytes: the archive's own, or ours for an archive that has none */
  readonly manifest: Buffer;
  readonly config: StagedBlob;
  readonly parsed: ParsedConfig;
  /** lowest first */
  readonly layers: readonly CandidateLayer[];
  readonly names: readonly string[];
}

export const requireLayerCount = (parsed: ParsedConfig, layers: readonly unknown[], what: string): void => {
  if (parsed.diffIds.length === layers.length) return;
  throw fleetError(
    "IMAGE_INVALID",
    `${what} names ${parsed.diffIds.length} layers in its configuration and has ${layers.length}`,
  );
};

/** Stored content that can be read once more. */
export interface ReadableBlob {
  readonly digest: Digest;
  read(): AsyncIterable<Uint8Array>;
}

/** Decompresses the layer and compares. Throws IMAGE_DIGEST_MISMATCH, IMAGE_INVALID or IMAGE_TOO_LARGE. */
export const verifyDiffId = async (blob: ReadableBlob, diffId: Digest, limits: ImageLimits): Promise<void> => {
  if (blob.digest === diffId) return;
  const what = `layer ${blob.digest}`;
  const hash = createHash("sha256");
  for await (const chunk of decompress(blob.read(), { maxBytes: limits.maxLayerBytes, what })) hash.update(chunk);
  const actual = digestOfHex(hash.digest("hex"));
  if (actual !== diffId) {
    throw fleetError("IMAGE_DIGEST_MISMATCH", `${what} unpacks to ${actual}; the configuration says ${diffId}`);
  }
};
