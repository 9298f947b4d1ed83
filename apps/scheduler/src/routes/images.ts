import type { Readable } from "node:stream";
import { type Image, ImageName, Image as ImageSchema, type PullImage, fleetError } from "@bulkhead/contracts";
import { formatReference, parseReference } from "@bulkhead/images";
import type { FastifyReply, FastifyRequest } from "fastify";
import { Type } from "typebox";
import { accepted, answers, byReference, query, ref } from "../http/answers.ts";
import { addArchiveBodies, archiveTypes } from "../http/bodies.ts";
import { addDelete } from "../http/deleting.ts";
import { answerOnce } from "../http/once.ts";
import { changeOf } from "../http/request-context.ts";
import { addGet, addList } from "../http/reading.ts";
import { importNames, pullNames } from "../images/import-name.ts";
import { meteredBody } from "../images/metered.ts";
import { type AddRoutes, type RouteContext, clientGone } from "./route-context.ts";

const tags = ["images"];
const one = byReference("image", "name, `name:tag` or digest; encode `/` as `%2F`");

const archiveBody = Type.Unknown({ description: "the archive itself" });

/** The image, and the others when the archive had several. */
const importAnswer = Type.Object({ ...ImageSchema.properties, others: Type.Optional(Type.Array(ref("Image"))) });

type PostImage = FastifyRequest<{ Body: Readable | PullImage | null | undefined; Querystring: { name?: string } }>;

const isArchive = (body: PostImage["body"]): body is Readable =>
  typeof body === "object" && body !== null && "pipe" in body && typeof body.pipe === "function";

const startPull = async (
  { inventory, pulls }: RouteContext,
  wanted: PullImage,
  { request, reply }: { request: PostImage; reply: FastifyReply },
): Promise<FastifyReply> => {
  const change = changeOf(request);
  const reference = parseReference(wanted.reference);
  const names = pullNames(reference, wanted.name ?? request.query.name);
  await answerOnce({ request, reply, inventory }, async (tx) =>
    accepted(await tx.startPull(change, { reference: formatReference(reference), names })),
  );
  pulls.wake();
  return reply;
};

export const addImageRoutes: AddRoutes = (app, context) => {
  const { inventory, images, control, settings } = context;
  void app.register(async (scope) => {
    addArchiveBodies(scope);
    scope.post<{ Body: PostImage["body"]; Querystring: { name?: string } }>(
      "/v1/images",
      {
        config: { access: "write", streamed: true },
        bodyLimit: settings.imageMaxBytes,
        schema: {
          operationId: "importImage",
          summary: "Pull from a registry (JSON), or import an OCI image layout or docker archive (tar, gzip or zstd)",
          description:
            "A pull answers 202 with an operation, which shows how far each layer is. An import answers when all is verified.",
          tags,
          body: {
            content: {
              "application/json": { schema: ref("PullImage") },
              ...Object.fromEntries(archiveTypes.map((type) => [type, { schema: archiveBody }])),
            },
          },
          querystring: query({ name: ImageName }),
          response: answers({
            201: { description: "imported", schema: importAnswer },
            202: { description: "the pull has begun", schema: ref("Operation") },
          }),
        },
      },
      async (request, reply) => {
        const change = changeOf(request);
        const archive = request.body;
        if (!isArchive(archive)) {
          if (archive != null) return startPull(context, archive, { request, reply });
          const types = `an archive as one of ${archiveTypes.join(", ")}, or a reference as application/json`;
          throw fleetError("MEDIA_TYPE_UNSUPPORTED", `Send ${types}.`);
        }
        const body = meteredBody(settings.imageMaxBytes);
        archive.on("error", (error) => body.stream.destroy(error));
        // A client that goes away ends the body without its end.
        archive.on("close", () => {
          if (!archive.readableEnded) body.stream.destroy(fleetError("IMAGE_INVALID", "The upload was cut off."));
        });
        const imported = await images.import(archive.pipe(body.stream), {
          project: change.project,
          name: request.query.name,
          signal: clientGone(reply.raw),
        });
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

  addList(app, {
    noun: "images",
    schema: "Image",
    summary: "List images by digest",
    read: ({ project }, page) => inventory.read.images(project, page),
  });

  addGet(app, {
    noun: "images",
    member: "image",
    schema: "Image",
    summary: "One image",
    params: one,
    read: ({ project, idOrName }) => inventory.read.image(project, idOrName),
  });

  addDelete(app, inventory, {
    noun: "images",
    member: "image",
    schema: "Image",
    summary: "Forget an image that no workload uses; unused blobs are freed within two hours",
    params: one,
    remove: (tx, change, image) => tx.deleteImage(change, image),
  });
};
