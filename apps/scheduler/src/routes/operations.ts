import { OperationId } from "@bulkhead/contracts";
import type { FastifyRequest } from "fastify";
import { Type } from "typebox";
import { waitUntil } from "../events/wait-until.ts";
import { answers, query, ref } from "../http/answers.ts";
import { timeoutMs } from "./instances.ts";
import { type AddRoutes, clientGone } from "./route-context.ts";

const tags = ["operations"];
const params = Type.Object({ operation: OperationId });
const waitDefaultMs = 30_000;

/** An id needs no project: a project's token sees its own operations, an administrator all. */
const projectOf = (request: FastifyRequest): string | null => request.identity?.project ?? null;

export const addOperationRoutes: AddRoutes = (app, { inventory, feed }) => {
  app.get<{ Params: { operation: string } }>(
    "/v1/operations/:operation",
    {
      config: { access: "read" },
      schema: {
        operationId: "getOperation",
        summary: "How far an operation is",
        tags,
        params,
        response: answers({ 200: { description: "the operation", schema: ref("Operation") } }),
      },
    },
    async (request) => inventory.read.operation(request.params.operation, projectOf(request)),
  );

  app.get<{ Params: { operation: string }; Querystring: { timeoutMs?: number } }>(
    "/v1/operations/:operation/wait",
    {
      config: { access: "read" },
      schema: {
        operationId: "waitForOperation",
        summary: "Answer when an operation has ended, well or not: 200, or 408 when it did not in time",
        tags,
        params,
        querystring: query({ timeoutMs }),
        response: answers({ 200: { description: "the finished operation", schema: ref("Operation") } }),
      },
    },
    async (request, reply) => {
      const id = request.params.operation;
      const project = projectOf(request);
      return waitUntil(feed, {
        read: async () => {
          const operation = await inventory.read.operation(id, project);
          return operation.state === "running" ? undefined : operation;
        },
        concerns: (event) => event.type === "operation.finished" && (event.data["operationId"] ?? id) === id,
        timeoutMs: request.query.timeoutMs ?? waitDefaultMs,
        signal: clientGone(reply.raw),
        what: `The end of operation ${id}`,
      });
    },
  );
};
