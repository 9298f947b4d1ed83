import { trace } from "@opentelemetry/api";
import { fleetError, isFleetError, toProblem, type FleetError } from "@bulkhead/contracts";
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { AllowedMethods } from "./allowed-methods.ts";

type Violation = NonNullable<FastifyError["validation"]>[number];

/** RFC 6901: `~` and `/` inside one reference token. */
const pointerToken = (name: string): string => name.replaceAll("~", "~0").replaceAll("/", "~1");

/** Points at the missing or unknown member itself, not at the object around it. */
const pointerOf = ({ instancePath, params }: Violation): string => {
  const member = params["missingProperty"] ?? params["additionalProperty"] ?? params["propertyName"];
  return typeof member === "string" ? `${instancePath}/${pointerToken(member)}` : instancePath;
};

const messageOf = ({ keyword, params, message }: Violation): string => {
  switch (keyword) {
    case "additionalProperties":
    case "unevaluatedProperties":
      return "unknown field";
    case "required":
      return "is required";
    case "enum":
      return `must be one of ${JSON.stringify(params["allowedValues"])}`;
    case "const":
      return `must be ${JSON.stringify(params["allowedValue"])}`;
    default:
      return message ?? "is invalid";
  }
};

/** A validation failure as REQUEST_INVALID with one entry per pointer and message. */
const invalidRequest = (violations: readonly Violation[], place: string, cause: unknown): FleetError => {
  const seen = new Map<string, { pointer: string; message: string }>();
  // A union reports each branch's failures and then its own, which says nothing more.
  const telling = violations.filter(({ keyword }) => keyword !== "anyOf" && keyword !== "oneOf" && keyword !== "if");
  for (const violation of telling.length > 0 ? telling : violations) {
    const entry = { pointer: pointerOf(violation), message: messageOf(violation) };
    seen.set(`${entry.pointer}\n${entry.message}`, entry);
  }
  const entries = [...seen.values()];
  const list = entries.map(({ pointer, message }) => `${pointer === "" ? "(whole)" : pointer} ${message}`).join("; ");
  return fleetError("REQUEST_INVALID", `The ${place} is invalid: ${list}.`, { fields: { errors: entries }, cause });
};

/** Fastify's own failures, by their code, as rows of our table; anything else is passed through. */
const fromFastify = (error: FastifyError, request: FastifyRequest): unknown => {
  if (error.validation !== undefined) {
    return invalidRequest(error.validation, error.validationContext ?? "request", error);
  }
  switch (error.code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE": {
      const { bodyLimit } = request.routeOptions;
      return fleetError("BODY_TOO_LARGE", `The body is larger than ${bodyLimit} bytes.`, { cause: error });
    }
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE": {
      const given = request.headers["content-type"] ?? "none";
      return fleetError("MEDIA_TYPE_UNSUPPORTED", `Content-Type ${given} is not understood here.`, { cause: error });
    }
    case "FST_UNDER_PRESSURE":
      return fleetError("OVERLOADED", "The service is overloaded; try again shortly.", {
        fields: { retryAfterMs: 1_000 },
        cause: error,
      });
    default:
      // What Fastify refuses before a handler ran (bad JSON, empty body, bad URL) carries a 4xx status.
      return error.code?.startsWith("FST_") && (error.statusCode ?? 500) < 500
        ? fleetError("REQUEST_INVALID", error.message, { cause: error })
        : error;
  }
};

/** Answers with the RFC 9457 document of an error and logs what is our fault, once. */
export const sendProblem = (reply: FastifyReply, failure: unknown): FastifyReply => {
  const { request } = reply;
  const spanContext = trace.getActiveSpan()?.spanContext();
  const problem = toProblem(failure, {
    instance: request.id,
    ...(spanContext === undefined ? {} : { traceId: spanContext.traceId }),
  });
  if (!isFleetError(failure) || problem.code === "INTERNAL") {
    request.log.error({ err: failure, route: request.routeOptions.url }, "request failed");
  }
  if (problem.retryAfterMs !== undefined) reply.header("retry-after", Math.ceil(problem.retryAfterMs / 1000));
  return reply.code(problem.status).type("application/problem+json").send(JSON.stringify(problem));
};

/**
 * Every failure of the app as a problem document: errors thrown by handlers, validation, unknown paths (404) and known
 * paths with another method (405 with `Allow`). Call before the routes are added.
 */
export const addProblemHandlers = (app: FastifyInstance): void => {
  const allowed = new AllowedMethods();
  app.addHook("onRoute", ({ url, method }) => allowed.add(url, method));
  app.setErrorHandler((error: FastifyError, request, reply) => sendProblem(reply, fromFastify(error, request)));
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.split("?", 1)[0] ?? "";
    const methods = allowed.of(path);
    if (methods.length === 0) return sendProblem(reply, fleetError("NOT_FOUND", `There is nothing at ${path}.`));
    void reply.header("allow", methods.join(", "));
    const detail = `${request.method} is not possible at ${path}; allowed: ${methods.join(", ")}.`;
    return sendProblem(reply, fleetError("METHOD_NOT_ALLOWED", detail));
  });
};
