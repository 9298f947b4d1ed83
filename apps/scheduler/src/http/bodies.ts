import type { IncomingMessage } from "node:http";
import { fleetError } from "@bulkhead/contracts";
import type { FastifyInstance, FastifyRequest } from "fastify";

/** A JSON body has this long to arrive, in milliseconds; uploads have the server's own, much longer limit. */
const jsonBodyMs = 30_000;

/** What still comes of a refused upload is read and dropped for this long, in milliseconds; then the connection ends. */
const dropMs = 10_000;

/** Media types of an uploaded archive. */
export const archiveTypes = [
  "application/x-tar",
  "application/tar",
  "application/gzip",
  "application/x-gzip",
  "application/zstd",
  "application/octet-stream",
  "application/vnd.oci.image.layout.v1+tar",
] as const;

/** A client that is still sending would not read its answer, or lose it when the connection is simply closed. */
const dropRest = (raw: IncomingMessage): void => {
  if (raw.complete || raw.destroyed) return;
  raw.unpipe();
  raw.resume();
  const timer = setTimeout(() => raw.destroy(), dropMs);
  raw.once("close", () => clearTimeout(timer));
  raw.once("end", () => clearTimeout(timer));
};

const announcesBody = ({ headers }: FastifyRequest): boolean =>
  headers["transfer-encoding"] !== undefined || (headers["content-length"] ?? "0") !== "0";

const parseJson = (text: string): unknown => {
  if (text.trim() === "") return undefined;
  return JSON.parse(text, (key, value: unknown) => {
    // A member of this name would change what an object inherits once it is copied.
    if (key === "__proto__") throw fleetError("REQUEST_INVALID", "A member must not be named __proto__.");
    return value;
  });
};

/** JSON and merge patches are parsed, archives passed on as streams, everything else is refused with 415. */
export const addBodies = (app: FastifyInstance): void => {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    ["application/json", "application/merge-patch+json"],
    { parseAs: "string" },
    (_request, text, done) => {
      try {
        done(null, parseJson(text as string));
      } catch (cause) {
        const detail = cause instanceof SyntaxError ? `The body is not JSON: ${cause.message}.` : undefined;
        done(detail === undefined ? (cause as Error) : fleetError("REQUEST_INVALID", detail, { cause }));
      }
    },
  );
  app.addHook("preParsing", async (request, reply, payload) => {
    if (!announcesBody(request) || request.routeOptions.config.streamed === true) return;
    const timer = setTimeout(() => {
      request.raw.destroy(fleetError("REQUEST_INVALID", `The body did not arrive within ${jsonBodyMs} ms.`));
    }, jsonBodyMs);
    const arrived = () => clearTimeout(timer);
    payload.once("end", arrived);
    reply.raw.once("close", arrived);
  });
  app.addHook("onSend", async (request, reply) => {
    if (announcesBody(request) && !request.raw.complete) {
      void reply.header("connection", "close");
      dropRest(request.raw);
    }
  });
};

/** Lets one scope take archives as unread streams. */
export const addArchiveBodies = (app: FastifyInstance): void => {
  app.addContentTypeParser([...archiveTypes], (_request, payload, done) => done(null, payload));
};
