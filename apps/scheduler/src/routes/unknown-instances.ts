import { InstanceId } from "@bulkhead/contracts";
import { Type } from "typebox";
import { answers, dryRun, query } from "../http/answers.ts";
import { rehearse } from "../http/once.ts";
import { identityOf } from "../http/request-context.ts";
import type { AddRoutes } from "./route-context.ts";

const params = Type.Object({
  host: Type.String({ minLength: 1, maxLength: 255, description: "id or name" }),
  instance: InstanceId,
});

/** Default of a workload's own stop grace (contracts), in milliseconds: its specification is not known here. */
const defaultGraceMs = 10_000;

/** What a host runs and this control plane does not know ends here, by an operator's word alone. */
export const addUnknownInstanceRoutes: AddRoutes = (app, { inventory, control }) => {
  app.delete<{
    Params: { host: string; instance: string };
    Querystring: { graceMs?: number; dryRun?: boolean };
  }>(
    "/v1/hosts/:host/unknown/:instance",
    {
      config: { access: "admin" },
      schema: {
        operationId: "endUnknownInstance",
        summary: "Order a host to end an instance listed in its `unknownInstances`",
        description: "Answers when the order is written; the instance leaves the list when the host has ended it.",
        tags: ["hosts"],
        params,
        querystring: query({
          graceMs: Type.Integer({ minimum: 0, maximum: 3_600_000, description: "time to end by itself" }),
          dryRun,
        }),
        response: answers({ 204: { description: "ordered" } }),
      },
    },
    async (request, reply) => {
      const { host, instance: instanceId } = request.params;
      const { tokenId } = identityOf(request);
      const end = { host, instanceId, graceMs: request.query.graceMs ?? defaultGraceMs };
      if (request.query.dryRun === true) await rehearse(inventory, (tx) => tx.endUnknownRun({ tokenId }, end));
      else await inventory.write((tx) => tx.endUnknownRun({ tokenId }, end));
      control.wake();
      return reply.code(204).send();
    },
  );
};
