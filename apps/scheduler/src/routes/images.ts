import type { Readable } from "node:stream";
import { type Image, ImageName, Image as ImageSchema, fleetError } from "@bulkhead/contracts";
import { Type } from "typebox";
import {
  type PageQuery,
  answers,
  byReference,
  dryRun,
  pageQuery,
  pageRequest,
  pageSchema,
  query,
  ref,
} from "../http/answers.ts";
import { addArchiveBodies, archiveTypes } from "../http/bodies.ts";
import { answerOnce, rehearse } from "../http/once.ts";
import { changeOf } from "../http/request-context.ts";
import { importNames } from "../images/import-name.ts";
import { meteredBody } from "../images/metered.ts";
import { type AddRoutes, clientGone } from "./route-context.ts";

const tags = ["images"];
const one = byReference("image", "name, `name:tag` or digest; encode `/` as `%2F`");

/** The image, and the others when the archive had several. */
const importAnswer = Type.Object({ ...ImageSchema.properties, others: Type.Optional(Type.Array(ref("Image"))) });

export const addImageRoutes: AddRoutes = (app, { inventory, images, control, settings }) => {
  void app.register(async (scope) => {
    addArchiveBodies(scope);
    scope.post<{ Body: Readable | null | undefined; Querystring: { name?: string } }>(
      "/v1/images",
      {
        config: { access: "write", streamed: true },
        bodyLimit: settings.imageMaxBytes,
        schema: {
          operationId: "importImage",
          summary: "Import an OCI image layout or docker archive (tar, gzip or zstd); answers when all is verified",
          tags,
          consumes: [...archiveTypes],
          body: Type.Unknown({ description: "the archive itself" }),
          querystring: query({ name: ImageName }),
          response: answers({ 201: { description: "imported", schema: importAnswer } }),
        },
      },
      async (request, reply) => {
        const change = changeOf(request);
        const archive = request.body;
        if (typeof archive?.pipe !== "function") {
          throw fleetError("MEDIA_TYPE_UNSUPPORTED", `Send an archive as one of ${archiveTypes.join(", ")}.`);
        }
        const body = meteredBody(settings.imageMaxBytes);
        archive.on("error", (error) => body.stream.destroy(error));
        // A client that goes away ends the body without its end.
        archive.on("close", () => {
          if (!archive.readableEnded) body.stream.destroy(fleetError("IMAGE_INVALID", "The upload was cut off."));
        });
        const imported = await images.import(archive.pipe(body.stream), clientGone(reply.raw));
        const names = importNames(imported, request.query.name);
        await answerOnce(
          { request, reply, inventory },
          async (tx) => {
            const recorded: Image[] = [];
            for (const [at, image] of imported.entries()) {
              recorded.push(
                await tx.recordImage(change, {
                  digest: image.manifestDigest,
                  sizeBytes: image.sizeBytes,
                  layers: image.layers.map(({ digest, sizeBytes }) => ({ digest, sizeBytes })),
                  config: image.config,
                  names: names[at] ?? [],
                }),
              );
            }
            const [first, ...others] = recorded;
            if (first === undefined) throw fleetError("IMAGE_INVALID", "The archive has no image.");
            const answer = others.length === 0 ? first : { ...first, others };
            return { status: 201, headers: { location: `/v1/images/${first.digest}` }, body: answer };
          },
          { content: body.digest() },
        );
        control.wake();
        return reply;
      },
    );
  });

  app.get<{ Querystring: PageQuery }>(
    "/v1/images",
    {
      config: { access: "read" },
      schema: {
        operationId: "listImages",
        summary: "List images by digest",
        tags,
        querystring: query(pageQuery),
        response: answers({ 200: { description: "one page", schema: pageSchema("Image") } }),
      },
    },
    async (request) => inventory.read.images(request.project, pageRequest(request.query)),
  );

  app.get<{ Params: { image: string } }>(
    "/v1/images/:image",
    {
      config: { access: "read" },
      schema: {
        operationId: "getImage",
        summary: "One image",
        tags,
        params: one,
        response: answers({ 200: { description: "the image", schema: ref("Image") } }),
      },
    },
    async (request) => inventory.read.image(request.project, request.params.image),
  );

  app.delete<{ Params: { image: string }; Querystring: { dryRun?: boolean } }>(
    "/v1/images/:image",
    {
      config: { access: "write" },
      schema: {
        operationId: "deleteImage",
        summary: "Forget an image that no workload uses; unused blobs are freed within two hours",
        tags,
        params: one,
        querystring: query({ dryRun }),
        response: answers({ 204: { description: "gone" } }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const { image } = request.params;
      if (request.query.dryRun === true) await rehearse(inventory, (tx) => tx.deleteImage(change, image));
      else await inventory.write((tx) => tx.deleteImage(change, image));
      return reply.code(204).send();
    },
  );
};
