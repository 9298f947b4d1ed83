import { type TokenRole, Name, fleetError } from "@bulkhead/contracts";
import type { Identity } from "@bulkhead/inventory";
import { RateLimiter } from "@bulkhead/service";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { TokenCache } from "./token-cache.ts";

/**
 * Who may use a route. `public`: no token; `stream`: the route checks its own one-time token; `read`, `write`: a project's
 * viewer or editor; `blobs`: agents.
 */
export type Access = "public" | "stream" | "read" | "write" | "admin" | "join" | "blobs";

declare module "fastify" {
  interface FastifyContextConfig {
    access?: Access;
    /** the body is a stream with its own limits */
    streamed?: boolean;
  }
}

const allowed: Readonly<Record<Exclude<Access, "public" | "stream">, readonly TokenRole[]>> = {
  read: ["admin", "editor", "viewer"],
  write: ["admin", "editor"],
  admin: ["admin"],
  join: ["admin", "join"],
  blobs: ["admin", "agent"],
};

/** Prefix of the sub-protocol that carries a browser's token. */
const protocolPrefix = "bulkhead.bearer.";

const tokenOf = (request: FastifyRequest): string | undefined => {
  const header = request.headers.authorization;
  if (header !== undefined) return /^Bearer (?<token>[\x21-\x7e]{1,512})$/i.exec(header)?.groups?.["token"];
  const offered = request.headers["sec-websocket-protocol"]?.split(",").map((name) => name.trim());
  return offered?.find((name) => name.startsWith(protocolPrefix))?.slice(protocolPrefix.length);
};

const namePattern = new RegExp((Name as unknown as { pattern: string }).pattern);

/** The project a request works in; null for all. Throws REQUEST_INVALID, FORBIDDEN. */
const projectOf = (request: FastifyRequest, identity: Identity): string | null => {
  const query = request.query as { project?: unknown };
  const header = request.headers["bulkhead-project"] ?? (isStream(request) ? query.project : undefined);
  const wanted = header ?? identity.project ?? "default";
  if (wanted === "*" && identity.role === "admin") return null;
  if (typeof wanted !== "string" || !namePattern.test(wanted)) {
    throw fleetError(
      "REQUEST_INVALID",
      "Bulkhead-Project must be a project's name: lower-case letters, digits, hyphens.",
    );
  }
  if (identity.project !== null && identity.project !== wanted) {
    throw fleetError("FORBIDDEN", `This token is for project ${identity.project}, not ${wanted}.`);
  }
  return wanted;
};

/** A browser's WebSocket cannot set headers, so its project comes in the query. */
const isStream = (request: FastifyRequest): boolean => request.headers.upgrade !== undefined;

export interface AccessOptions {
  readonly tokens: TokenCache;
  /** requests of one token: at once, and each second */
  readonly burst: number;
  readonly perSecond: number;
  readonly nowMs: () => number;
}

const limited = (waitMs: number, who: string) =>
  fleetError("RATE_LIMITED", `Too many requests from ${who}; wait ${waitMs} ms.`, {
    fields: { retryAfterMs: waitMs },
  });

/** Refuses requests without a token, with a token that may not, and too many of them. Unknown paths need a token too. */
export const addAccess = (app: FastifyInstance, options: AccessOptions): void => {
  const { tokens, nowMs } = options;
  const perToken = new RateLimiter({ burst: options.burst, perSecond: options.perSecond, nowMs });
  // Guessing tokens is slowed per address; an honest client with a wrong token needs a few tries.
  const failures = new RateLimiter({ burst: 20, perSecond: 1, nowMs });

  app.addHook("onRequest", async (request) => {
    const access = request.routeOptions.config.access ?? (request.is404 ? "read" : undefined);
    if (access === undefined) throw new Error(`route ${request.routeOptions.url} names no access`);
    if (access === "public" || access === "stream") return;
    const token = tokenOf(request);
    const identity = token === undefined ? undefined : await tokens.identify(token);
    if (identity === undefined) {
      const waitMs = failures.take(request.ip);
      if (waitMs > 0) throw limited(waitMs, "this address without a valid token");
      throw fleetError(
        "UNAUTHENTICATED",
        token === undefined
          ? "The request has no token; send `Authorization: Bearer TOKEN`."
          : "The token is unknown or revoked.",
      );
    }
    const waitMs = perToken.take(identity.tokenId);
    if (waitMs > 0) throw limited(waitMs, "this token");
    request.identity = identity;
    if (request.is404) return;
    if (!allowed[access].includes(identity.role)) {
      throw fleetError(
        "FORBIDDEN",
        `A token with the role ${identity.role} may not do this; it needs ${allowed[access].join(" or ")}.`,
      );
    }
    request.project = projectOf(request, identity);
    if (request.project === null && request.method !== "GET" && request.method !== "HEAD") {
      throw fleetError("REQUEST_INVALID", "`Bulkhead-Project: *` is for reading; name the project to change.");
    }
  });
};
