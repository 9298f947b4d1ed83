import { createHash } from "node:crypto";
import { type Digest, fleetError } from "@bulkhead/contracts";

const pattern = /^sha256:[0-9a-f]{64}$/;

export const isDigest = (text: string): text is Digest => pattern.test(text);

/** Throws IMAGE_INVALID; `what` names the place it came from. */
export const parseDigest = (text: string, what: string): Digest => {
  if (isDigest(text)) return text;
  throw fleetError("IMAGE_INVALID", `${what}: "${text.slice(0, 100)}" is not a sha256 digest`);
};

/** The 64 hexadecimal digits: the only part of a digest that names a file. */
export const hexOf = (digest: Digest): string => digest.slice("sha256:".length);

export const digestOfHex = (hex: string): Digest => parseDigest(`sha256:${hex}`, "digest");

export const digestOf = (bytes: Uint8Array | string): Digest =>
  digestOfHex(createHash("sha256").update(bytes).digest("hex"));
