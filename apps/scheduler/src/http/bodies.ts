import { fleetError } from "@bulkhead/contracts";
import type { FastifyInstance } from "fastify";

/** A JSON body has this long to arrive, in milliseconds; uploads have the server's own, much longer limit. */
const jsonBodyMs = 30_000;

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
    const { "content-length": length, "transfer-encoding": coding } = request.headers;
    const hasBody = coding !== undefined || (length !== undefined && length !== "0");
    if (!hasBody || request.routeOptions.config.streamed === true) return;
    const timer = setTimeout(() => {
      request.raw.destroy(fleetError("REQUEST_INVALID", `The body did not arrive within ${jsonBodyMs} ms.`));
    }, jsonBodyMs);
    const arrived = () => clearTimeout(timer);
    payload.once("end", arrived);
    reply.raw.once("close", arrived);
  });
};

/** Lets one scope take archives as unread streams. */
export const addArchiveBodies = (app: FastifyInstance): void => {
  app.addContentTypeParser([...archiveTypes], (_request, payload, done) => done(null, payload));
};
