import type { CreateNetwork } from "@bulkhead/contracts";
import { newNetwork } from "../admission/network-rules.ts";
import { answers, byReference, dryRun, query, ref } from "../http/answers.ts";
import { addDelete } from "../http/deleting.ts";
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

  addDelete(app, inventory, {
    noun: "networks",
    member: "network",
    schema: "Network",
    summary: "Delete a network that no workload uses",
    params: one,
    remove: (tx, change, network) => tx.deleteNetwork(change, network),
  });
};
