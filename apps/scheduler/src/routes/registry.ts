import { Readable } from "node:stream";
import { Digest, fleetError } from "@bulkhead/contracts";
import type { FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import { answers } from "../http/answers.ts";
import { firstBytes, parseRange } from "../images/byte-range.ts";
import type { AddRoutes, RouteContext } from "./route-context.ts";

const tags = ["registry"];
const params = Type.Object({ project: Type.String({ maxLength: 63 }), digest: Digest });
type BlobRequest = FastifyRequest<{ Params: { project: string; digest: Digest } }>;

/** Largest manifest that is answered, in bytes; registries refuse more than 4 MiB. */
const manifestMaxBytes = 4 * 1024 * 1024;

const sendBlob = async ({ images }: RouteContext, request: BlobRequest, reply: FastifyReply) => {
  const { digest } = request.params;
  const size = (await images.stat(digest))?.sizeBytes;
  if (size === undefined) throw fleetError("IMAGE_UNAVAILABLE", `${digest} is not in the store.`);
  const range = parseRange(request.headers.range, size);
  void reply.headers({
    "accept-ranges": "bytes",
    "docker-content-digest": digest,
    etag: `"${digest}"`,
    "cache-control": "private, immutable, max-age=31536000",
  });
  void reply.type("application/octet-stream");
  if (range === "unsatisfiable") {
    return reply.code(416).header("content-range", `bytes */${size}`).header("content-length", 0).send();
  }
  const length = range === undefined ? size : range.end - range.start + 1;
  void reply.header("content-length", length);
  if (range !== undefined) void reply.code(206).header("content-range", `bytes ${range.start}-${range.end}/${size}`);
  if (request.method === "HEAD") return reply.send();
  const source = await images.open(digest, range?.start ?? 0);
  return reply.send(range === undefined ? source : Readable.from(firstBytes(source, length), { objectMode: false }));
};

const sendManifest = async ({ images }: RouteContext, request: BlobRequest, reply: FastifyReply) => {
  const { digest } = request.params;
  const bytes = await images.read(digest, manifestMaxBytes);
  const { mediaType } = JSON.parse(bytes.toString("utf8")) as { mediaType?: string };
  void reply.headers({ "docker-content-digest": digest, etag: `"${digest}"`, "content-length": bytes.byteLength });
  void reply.type(mediaType ?? "application/vnd.oci.image.manifest.v1+json");
  return request.method === "HEAD" ? reply.send() : reply.send(bytes);
};

/** The part of the OCI distribution API (v1.1) with which agents fetch what they lack: by digest, read-only. */
export const addRegistryRoutes: AddRoutes = (app, context) => {
  const methods = ["GET", "HEAD"];
  app.route({
    method: methods,
    url: "/v2/",
    config: { access: "blobs" },
    schema: {
      operationId: "registryVersion",
      summary: "The OCI distribution API is here",
      tags,
      response: answers({ 200: { description: "it is", schema: Type.Object({}) } }),
    },
    handler: async (_request, reply) =>
      reply.header("docker-distribution-api-version", "registry/2.0").type("application/json").send({}),
  });
  app.route<{ Params: { project: string; digest: Digest } }>({
    method: methods,
    url: "/v2/:project/blobs/:digest",
    config: { access: "blobs" },
    schema: {
      operationId: "getBlob",
      summary: "A blob, whole or one `Range` of it",
      tags,
      params,
      response: answers({ 200: { description: "the blob", type: "application/octet-stream" } }),
    },
    handler: (request, reply) => sendBlob(context, request, reply),
  });
  app.route<{ Params: { project: string; digest: Digest } }>({
    method: methods,
    url: "/v2/:project/manifests/:digest",
    config: { access: "blobs" },
    schema: {
      operationId: "getManifest",
      summary: "A manifest by digest",
      tags,
      params,
      response: answers({
        200: { description: "the manifest", type: "application/vnd.oci.image.manifest.v1+json" },
      }),
    },
    handler: (request, reply) => sendManifest(context, request, reply),
  });
};
