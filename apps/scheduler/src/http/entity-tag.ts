import { fleetError } from "@bulkhead/contracts";
import type { FastifyRequest } from "fastify";

/** ETag of a version or generation. */
export const entityTag = (version: number): string => `"${version}"`;

/**
 * The version that `If-Match` demands; undefined without the header or for `*`. Throws REQUEST_INVALID for what is not
 * one of our tags, rather than ignoring it.
 */
export const ifMatch = (request: FastifyRequest): number | undefined => {
  const header = request.headers["if-match"];
  if (header === undefined || header === "*") return undefined;
  const version = /^"(?<version>[0-9]{1,15})"$/.exec(header)?.groups?.["version"];
  if (version === undefined) {
    throw fleetError("REQUEST_INVALID", 'If-Match must be one ETag as an answer gave it, such as "3".');
  }
  return Number(version);
};
