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

const isJson = ({ headers }: FastifyRequest): boolean =>
  /^application\/json *(;|$)/.test(headers["content-type"] ?? "");

/** JSON beside archives: their route's limit is no limit for it; in bytes. */
const smallJsonBytes = 64 * 1024;

const readSmall = async (payload: AsyncIterable<Buffer>): Promise<string> => {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of payload) {
    bytes += part.byteLength;
    if (bytes > smallJsonBytes) throw fleetError("BODY_TOO_LARGE", `The body is larger than ${smallJsonBytes} bytes.`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
};

const parseJson = (text: string): unknown => {
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text, (key, value: unknown) => {
      // A member of this name would change what an object inherits once it is copied.
      if (key === "__proto__") throw fleetError("REQUEST_INVALID", "A member must not be named __proto__.");
      return value;
    });
  } catch (cause) {
    // The stack is full: nothing of ours is nested a thousandth as deeply.
    if (cause instanceof RangeError) {
      throw fleetError("REQUEST_INVALID", "The body is nested too deeply.", { cause });
    }
    if (!(cause instanceof SyntaxError)) throw cause;
    throw fleetError("REQUEST_INVALID", `The body is not JSON: ${cause.message}.`, { cause });
  }
};

/** JSON and merge patches are parsed, archives passed on as streams, everything else is refused with 415. */
export const addBodies = (app: FastifyInstance): void => {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    ["application/json", "application/merge-patch+json"],
    { parseAs: "string" },
    async (_request: FastifyRequest, text: string) => parseJson(text),
  );
  app.addHook("preParsing", async (request, reply, payload) => {
    const streamed = request.routeOptions.config.streamed === true && !isJson(request);
    if (!announcesBody(request) || streamed) return;
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

/** Lets one scope take archives as unread streams, and small JSON. */
export const addArchiveBodies = (app: FastifyInstance): void => {
  app.addContentTypeParser([...archiveTypes], (_request, payload, done) => done(null, payload));
  app.removeContentTypeParser("application/json");
  app.addContentTypeParser("application/json", async (_request: FastifyRequest, payload: AsyncIterable<Buffer>) =>
    parseJson(await readSmall(payload)),
  );
};
