import type { ViewInstance } from "@bulkhead/contracts";
import { Type } from "typebox";
import { answers, byReference, query, ref } from "../http/answers.ts";
import { agentOf } from "./agent-of.ts";
import { instanceReference } from "./instances.ts";
import type { AddRoutes } from "./route-context.ts";

const seccompFrom = Type.Union([Type.Literal("kernel"), Type.Literal("plan")], {
  default: "kernel",
  description:
    "kernel: the first process is stopped for some microseconds to read its filters; plan: it is left alone, and what it was started with is shown",
});

/** What an instance can see and do. Never stored: each answer is read from the kernel when it is asked for. */
export const addViewRoute: AddRoutes = (app, { inventory, commands }) => {
  app.get<{ Params: { instance: string }; Querystring: { seccompFrom?: ViewInstance["seccompFrom"] } }>(
    "/v1/instances/:instance/view",
    {
      config: { access: "read" },
      schema: {
        operationId: "viewInstance",
        summary: "What a running instance can see and do, read from its host's kernel",
        tags: ["instances"],
        params: byReference("instance", "id or name"),
        querystring: query({ seccompFrom }),
        response: answers({ 200: { description: "what it sees now", schema: ref("InstanceView") } }),
      },
    },
    async (request) => {
      const instance = await inventory.read.instance(instanceReference(request));
      return commands.view(agentOf(instance), {
        instanceId: instance.id,
        seccompFrom: request.query.seccompFrom ?? "kernel",
      });
    },
  );
};
