import type { CreateNetwork } from "@bulkhead/contracts";
import { newNetwork } from "../admission/network-rules.ts";
import { answers, byReference, dryRun, query, ref } from "../http/answers.ts";
import { answerOnce, rehearse } from "../http/once.ts";
import { changeOf } from "../http/request-context.ts";
import { addGet, addList } from "../http/reading.ts";
import type { AddRoutes } from "./route-context.ts";

const tags = ["networks"];
const one = byReference("network", "id or name");

export const addNetworkRoutes: AddRoutes = (app, { inventory }) => {
  app.post<{ Body: CreateNetwork; Querystring: { dryRun?: boolean } }>(
    "/v1/networks",
    {
      config: { access: "write" },
      schema: {
        operationId: "createNetwork",
        summary: "Create a network; hosts make their part of it with its first instance",
        tags,
        querystring: query({ dryRun }),
        body: ref("CreateNetwork"),
        response: answers({
          200: { description: "dry run: the network it would be", schema: ref("Network") },
          201: { description: "created", schema: ref("Network") },
        }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const wanted = newNetwork(request.body);
      if (request.query.dryRun === true) {
        return reply.send(await rehearse(inventory, (tx) => tx.createNetwork(change, wanted)));
      }
      await answerOnce({ request, reply, inventory }, async (tx) => {
        const network = await tx.createNetwork(change, wanted);
        return { status: 201, headers: { location: `/v1/networks/${network.id}` }, body: network };
      });
      return reply;
    },
  );

  addList(app, {
    noun: "networks",
    schema: "Network",
    summary: "List networks in the order they were created",
    read: ({ project }, page) => inventory.read.networks(project, page),
  });

  addGet(app, {
    noun: "networks",
    member: "network",
    schema: "Network",
    summary: "One network by id or name",
    params: one,
    read: (reference) => inventory.read.network(reference),
  });

  app.delete<{ Params: { network: string }; Querystring: { dryRun?: boolean } }>(
    "/v1/networks/:network",
    {
      config: { access: "write" },
      schema: {
        operationId: "deleteNetwork",
        summary: "Delete a network that no workload uses",
        tags,
        params: one,
        querystring: query({ dryRun }),
        response: answers({ 204: { description: "gone" } }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const { network } = request.params;
      if (request.query.dryRun === true) await rehearse(inventory, (tx) => tx.deleteNetwork(change, network));
      else await inventory.write((tx) => tx.deleteNetwork(change, network));
      return reply.code(204).send();
    },
  );
};
