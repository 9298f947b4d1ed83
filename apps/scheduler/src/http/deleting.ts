import type { ApiInventory, ApiWrites, Change } from "@bulkhead/inventory";
import type { FastifyInstance } from "fastify";
import type { TSchema } from "typebox";
import { answers, dryRun, query } from "./answers.ts";
import { rehearse } from "./once.ts";
import { changeOf } from "./request-context.ts";

interface DeleteRoute {
  /** `DELETE /v1/<noun>/:<member>` */
  readonly noun: string;
  readonly member: string;
  readonly schema: string;
  readonly summary: string;
  readonly params: TSchema;
  readonly remove: (tx: ApiWrites, change: Change, idOrName: string) => Promise<unknown>;
}

/** The route that deletes one object of which nothing is left anywhere. */
export const addDelete = (
  app: FastifyInstance,
  inventory: ApiInventory,
  { noun, member, schema, summary, params, remove }: DeleteRoute,
): void => {
  app.delete<{ Params: Record<string, string>; Querystring: { dryRun?: boolean } }>(
    `/v1/${noun}/:${member}`,
    {
      config: { access: "write" },
      schema: {
        operationId: `delete${schema}`,
        summary,
        tags: [noun],
        params,
        querystring: query({ dryRun }),
        response: answers({ 204: { description: "gone" } }),
      },
    },
    async (request, reply) => {
      const [change, idOrName] = [changeOf(request), request.params[member] ?? ""];
      if (request.query.dryRun === true) await rehearse(inventory, (tx) => remove(tx, change, idOrName));
      else await inventory.write((tx) => remove(tx, change, idOrName));
      return reply.code(204).send();
    },
  );
};
