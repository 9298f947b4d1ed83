import { createHash, timingSafeEqual } from "node:crypto";
import { fleetError } from "@bulkhead/contracts";
import type { FastifyRequest } from "fastify";

const hashOf = (text: string): Buffer => createHash("sha256").update(text).digest();

/** Throws UNAUTHENTICATED unless the request carries the token; hashes are compared, in constant time. */
export const bearerCheck = (token: string): ((request: FastifyRequest) => Promise<void>) => {
  const wanted = hashOf(token);
  return async (request) => {
    const given = /^Bearer (.+)$/.exec(request.headers.authorization ?? "")?.[1] ?? "";
    if (!timingSafeEqual(hashOf(given), wanted)) {
      throw fleetError("UNAUTHENTICATED", "Send `Authorization: Bearer TOKEN` with this service's token.");
    }
  };
};
