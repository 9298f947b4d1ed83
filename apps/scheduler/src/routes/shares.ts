import type { CreateShare, Share } from "@bulkhead/contracts";
import type { FastifyRequest } from "fastify";
import { shareFaults } from "../admission/share-rules.ts";
import { assertNoFaults } from "../admission/fault.ts";
import { answers, byReference, dryRun, query, ref } from "../http/answers.ts";
import { answerOnce, rehearse } from "../http/once.ts";
import { changeOf } from "../http/request-context.ts";
import { addGet, addList } from "../http/reading.ts";
import type { AddRoutes, RouteContext } from "./route-context.ts";

const tags = ["shares"];
const one = byReference("share", "id or name");

const referenceOf = (request: FastifyRequest<{ Params: { share: string } }>) => ({
  project: request.project,
  idOrName: request.params.share,
});

/** Asks the share's host at once; when it does not answer, the control loop asks again until it does. */
const removeNow = async ({ commands, inventory, log }: RouteContext, share: Share): Promise<boolean> => {
  if (share.hostId === null) return true;
  try {
    await commands.removeShare({ hostId: share.hostId, isolation: "container" }, { shareId: share.id });
  } catch (err) {
    log.info({ err, shareId: share.id }, "share is removed later");
    return false;
  }
  await inventory.write((tx) => tx.forgetShare(share));
  return true;
};

export const addShareRoutes: AddRoutes = (app, context) => {
  const { inventory, control } = context;

  app.post<{ Body: CreateShare; Querystring: { dryRun?: boolean } }>(
    "/v1/shares",
    {
      config: { access: "write" },
      schema: {
        operationId: "createShare",
        summary: "Declare a share; it is made on the host of its first user",
        tags,
        querystring: query({ dryRun }),
        body: ref("CreateShare"),
        response: answers({
          200: { description: "dry run: it could be made", schema: ref("CreateShare") },
          201: { description: "the share", schema: ref("Share") },
        }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      assertNoFaults(shareFaults(request.body));
      if (request.query.dryRun === true) {
        await rehearse(inventory, (tx) => tx.createShare(change, request.body));
        return reply.send(request.body);
      }
      await answerOnce({ request, reply, inventory }, async (tx) => {
        const share = await tx.createShare(change, request.body);
        return { status: 201, headers: { location: `/v1/shares/${share.id}` }, body: share };
      });
      control.wake();
      return reply;
    },
  );

  addList(app, {
    noun: "shares",
    schema: "Share",
    summary: "List shares with who uses them",
    read: ({ project }, page) => inventory.read.shares(project, page),
  });

  app.get(
    "/v1/shares/graph",
    {
      config: { access: "read" },
      schema: {
        operationId: "getShareGraph",
        summary: "Who sees what: every share of a project and every instance that sees one",
        tags,
        response: answers({ 200: { description: "the graph", schema: ref("ShareGraph") } }),
      },
    },
    async (request) => inventory.read.shareGraph(request.project),
  );

  addGet(app, {
    noun: "shares",
    member: "share",
    schema: "Share",
    summary: "One share by id or name",
    params: one,
    read: (reference) => inventory.read.share(reference),
  });

  app.delete<{ Params: { share: string }; Querystring: { dryRun?: boolean } }>(
    "/v1/shares/:share",
    {
      config: { access: "write" },
      schema: {
        operationId: "deleteShare",
        summary: "Delete a share that nobody uses, and its data",
        tags,
        params: one,
        querystring: query({ dryRun }),
        response: answers({
          200: { description: "it is gone; of a dry run: it could be", schema: ref("Share") },
          202: { description: "its host does not answer and will remove it", schema: ref("Share") },
        }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const wanted = referenceOf(request);
      if (request.query.dryRun === true) {
        await rehearse(inventory, (tx) => tx.deleteShare(change, wanted));
        return reply.send(await inventory.read.share(wanted));
      }
      const share = await inventory.write((tx) => tx.deleteShare(change, wanted));
      const gone = await removeNow(context, share);
      control.wake();
      return reply.code(gone ? 200 : 202).send(share);
    },
  );
};
