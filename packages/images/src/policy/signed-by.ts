import { type KeyObject, createPublicKey, verify } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type Digest, fleetError, isFleetError } from "@bulkhead/contracts";
import { Type } from "typebox";
import { digestOf, hexOf } from "../digest.ts";
import { parseDocument } from "../oci/document.ts";
import { type Descriptor, parseManifest } from "../oci/manifest.ts";
import type { RepositorySource } from "../registry/source.ts";
import type { SignedBy } from "./policy-file.ts";

/** cosign's names: the signatures of an image are the layers of an image tagged with its digest. */
const payloadType = "application/vnd.dev.cosign.simplesigning.v1+json";
const signatureKey = "dev.cosignproject.cosign/signature";
const tagOf = (digest: Digest): string => `sha256-${hexOf(digest)}.sig`;

const maxDocumentBytes = 2 ** 20;
const maxPayloadBytes = 64 * 1024;
/** Signatures looked at; everyone who may push can add some. */
const maxSignatures = 64;

const Payload = Type.Object({
  critical: Type.Object({
    type: Type.Literal("cosign container image signature"),
    identity: Type.Object({ "docker-reference": Type.String() }),
    image: Type.Object({ "docker-manifest-digest": Type.String() }),
  }),
});

export interface SignedSubject {
  /** digests of which one must be signed: of the index, whose content vouches for ours, and of our manifest */
  readonly digests: readonly Digest[];
  readonly source: RepositorySource;
  readonly signal: AbortSignal;
}

const readKeys = async (files: readonly string[]): Promise<readonly KeyObject[]> => {
  const keys = [];
  for (const file of files) {
    try {
      keys.push(createPublicKey(await readFile(file)));
    } catch (cause) {
      throw fleetError("IMAGE_REFUSED", `The image policy's key ${file} cannot be used, so no image is accepted.`, {
        cause,
      });
    }
  }
  return keys;
};

/** ECDSA and RSA sign the SHA-256 of the payload, Ed25519 the payload. */
const isSigned = (payload: Buffer, signature: Buffer, key: KeyObject): boolean => {
  const algorithm = key.asymmetricKeyType === "ed25519" ? null : "sha256";
  try {
    return verify(algorithm, payload, key, signature);
  } catch {
    return false;
  }
};

const signaturesOf = async (digest: Digest, { source, signal }: SignedSubject): Promise<readonly Descriptor[]> => {
  try {
    const { bytes } = await source.manifest(tagOf(digest), { maxBytes: maxDocumentBytes, signal });
    const { layers } = parseManifest(bytes, `signatures of ${digest}`, Infinity);
    return layers.filter(({ mediaType, annotations }) => mediaType === payloadType && annotations[signatureKey]);
  } catch (cause) {
    if (isFleetError(cause) && cause.code === "IMAGE_UNAVAILABLE") return [];
    throw cause;
  }
};

const readPayload = async (blob: Descriptor, { source, signal }: SignedSubject): Promise<Buffer | undefined> => {
  if (blob.sizeBytes > maxPayloadBytes) return undefined;
  let payload = Buffer.alloc(0);
  await source.blob({ digest: blob.digest, sizeBytes: blob.sizeBytes, signal }, async (bytes) => {
    payload = Buffer.concat(await Array.fromAsync(bytes(0)));
  });
  return digestOf(payload) === blob.digest ? payload : undefined;
};

/** Why a payload whose signature is valid does not speak for this image; undefined when it does. */
const objection = (payload: Buffer, digest: Digest, identity: string): string | undefined => {
  let critical;
  try {
    ({ critical } = parseDocument(Payload, payload, "the signed statement"));
  } catch (cause) {
    return cause instanceof Error ? cause.message : "the signed statement is malformed";
  }
  const signed = critical.image["docker-manifest-digest"];
  if (signed !== digest) return `a valid signature is about ${signed}`;
  const named = critical.identity["docker-reference"].replace(/^index\.docker\.io\//, "docker.io/");
  return identity === "any" || named === identity ? undefined : `a valid signature is about the repository ${named}`;
};

/** Rejects IMAGE_REFUSED unless one of the digests has a valid signature by one of the keys, as cosign attaches them. */
export const requireSignature = async (rule: SignedBy, subject: SignedSubject): Promise<void> => {
  const keys = await readKeys(rule.keyFiles);
  const { registry, repository } = subject.source.reference;
  const identity = rule.identity ?? `${registry}/${repository}`;
  const why: string[] = [];
  for (const digest of subject.digests) {
    const found = await signaturesOf(digest, subject);
    for (const blob of found.slice(0, maxSignatures)) {
      const payload = await readPayload(blob, subject);
      const signature = Buffer.from(blob.annotations[signatureKey] ?? "", "base64");
      if (payload === undefined || !keys.some((key) => isSigned(payload, signature, key))) {
        why.push(`a signature of ${digest} is by none of the keys`);
        continue;
      }
      const against = objection(payload, digest, identity);
      if (against === undefined) return;
      why.push(against);
    }
  }
  const reasons = why.length === 0 ? "it has no signature" : [...new Set(why)].join("; ");
  throw fleetError("IMAGE_REFUSED", `The image policy wants a signature: ${reasons}.`);
};
