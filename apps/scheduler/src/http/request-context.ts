import { randomBytes } from "node:crypto";
import { isSpanContextValid, trace } from "@opentelemetry/api";
import type { Change, Identity } from "@bulkhead/inventory";
import { fleetError } from "@bulkhead/contracts";
import type { FastifyInstance, FastifyRequest } from "fastify";

/** The trace a request belongs to. */
export interface RequestTrace {
  readonly traceId: string;
  /** W3C trace context for what the request causes */
  readonly traceparent: string;
}

declare module "fastify" {
  interface FastifyRequest {
    trace: RequestTrace;
    /** who asks; null only on public routes */
    identity: Identity | null;
    /** project of the request; null when an administrator asks for all of them */
    project: string | null;
  }
}

const pattern = /^00-(?<traceId>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The active span's trace; without a tracer the caller's, or a new one. */
const traceOf = (header: string | string[] | undefined): RequestTrace => {
  const span = trace.getActiveSpan()?.spanContext();
  if (span !== undefined && isSpanContextValid(span)) {
    const flags = span.traceFlags.toString(16).padStart(2, "0");
    return { traceId: span.traceId, traceparent: `00-${span.traceId}-${span.spanId}-${flags}` };
  }
  const given = typeof header === "string" ? pattern.exec(header)?.groups?.["traceId"] : undefined;
  const traceId = given !== undefined && !/^0+$/.test(given) ? given : randomBytes(16).toString("hex");
  return { traceId, traceparent: `00-${traceId}-${randomBytes(8).toString("hex")}-01` };
};

/** Gives each request its trace and puts request id and trace id on every answer. */
export const addRequestContext = (app: FastifyInstance): void => {
  app.decorateRequest("trace", null as unknown as RequestTrace);
  app.decorateRequest("identity", null);
  app.decorateRequest("project", null);
  app.addHook("onRequest", async (request, reply) => {
    request.trace = traceOf(request.headers["traceparent"]);
    void reply.headers(answerHeaders(request));
  });
};

/** Headers of every answer, also of those that are written past Fastify. */
export const answerHeaders = (request: FastifyRequest): Record<string, string> => ({
  "x-request-id": request.id,
  "x-trace-id": request.trace.traceId,
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
});

/** Who asks. Throws UNAUTHENTICATED on a public route, which is a mistake of ours. */
export const identityOf = (request: FastifyRequest): Identity => {
  if (request.identity === null) throw fleetError("UNAUTHENTICATED", "This needs a token.");
  return request.identity;
};

/** The request as the cause of a change. Throws REQUEST_INVALID when it names all projects. */
export const changeOf = (request: FastifyRequest): Change => {
  if (request.project === null) {
    throw fleetError("REQUEST_INVALID", "`Bulkhead-Project: *` is for reading; name the project to change.");
  }
  const { traceId, traceparent } = request.trace;
  return { tokenId: identityOf(request).tokenId, project: request.project, traceId, traceparent };
};
