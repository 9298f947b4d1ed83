import { randomBytes } from "node:crypto";
import type { Server } from "node:http";
import { uuidV7 } from "@bulkhead/contracts";
import { LogController, type FastifyHttpOptions } from "fastify";
import type { Logger } from "../log.ts";

/** JSON bodies are small; streams (images) raise it on their own route. */
const bodyLimitBytes = 1024 * 1024;

/**
 * Fastify options every HTTP service starts from: bounded bodies, headers and times, strict validation (unknown fields
 * and wrong types are errors), UUIDv7 request ids made here. Times in milliseconds.
 */
export const fastifyDefaults = (log: Logger): FastifyHttpOptions<Server> => ({
  loggerInstance: log,
  // Each request is counted and traced; a line for each would say the same again.
  logController: new LogController({ disableRequestLogging: true }),
  bodyLimit: bodyLimitBytes,
  // Waits and followed streams last long and have their own deadlines, so only what a client sends is timed.
  requestTimeout: 30_000,
  connectionTimeout: 0,
  // Longer than the 60 s at which common proxies close, so that they and not we end an idle connection.
  keepAliveTimeout: 65_000,
  http: { headersTimeout: 15_000, maxHeaderSize: 16 * 1024 },
  forceCloseConnections: "idle",
  // Whoever still comes on an open connection is answered: what answers need is closed after the server.
  return503OnClosing: false,
  requestIdHeader: false,
  genReqId: () => uuidV7(Date.now(), randomBytes(10)),
  routerOptions: { maxParamLength: 256 },
  ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: true, allErrors: true } },
});
