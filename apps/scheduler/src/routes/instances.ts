import {
  type Instance,
  type InstanceState,
  InstanceState as InstanceStateSchema,
  fleetError,
} from "@bulkhead/contracts";
import type { InstanceAction } from "@bulkhead/inventory";
import type { FastifyRequest } from "fastify";
import { Type } from "typebox";
import { waitUntil } from "../events/wait-until.ts";
import { accepted, answers, byReference, dryRun, query, ref } from "../http/answers.ts";
import { entityTag, ifMatch } from "../http/entity-tag.ts";
import { answerOnce, rehearse } from "../http/once.ts";
import { changeOf } from "../http/request-context.ts";
import { addGet, addList } from "../http/reading.ts";
import { type AddRoutes, clientGone } from "./route-context.ts";

const tags = ["instances"];
const one = byReference("instance", "id or name");

/** Longest wait of one request, in milliseconds; clients wait again. */
const waitMaxMs = 300_000;
const waitDefaultMs = 30_000;

/** Query of every wait. */
export const timeoutMs = Type.Integer({ minimum: 0, maximum: waitMaxMs, default: waitDefaultMs });

export type ByInstance = FastifyRequest<{ Params: { instance: string } }>;

/** The instance a request is about. */
export const instanceReference = (request: ByInstance) => ({
  project: request.project,
  idOrName: request.params.instance,
});

const descriptions: Readonly<Record<InstanceAction, string>> = {
  start: "Run an instance again that has stopped or failed",
  stop: "End an instance and keep it; its log and exit status stay",
  restart: "End an instance and run it again on the same host",
  pause: "Freeze all processes of an instance",
  resume: "Let a paused instance go on",
};

/** Throws STATE_CONFLICT when a state will never come without someone doing something. */
const assertReachable = (instance: Instance, wanted: InstanceState): void => {
  if (wanted !== "running" || instance.state !== "failed") return;
  const why = [instance.reason, instance.detail].filter(Boolean).join(": ");
  throw fleetError("STATE_CONFLICT", `Instance ${instance.name} has failed (${why}) and will not run by itself.`);
};

export const addInstanceRoutes: AddRoutes = (app, { inventory, control, feed }) => {
  addList<{ workload: string; state: InstanceState; host: string }>(app, {
    noun: "instances",
    schema: "Instance",
    summary: "List instances in the order they were created",
    filters: {
      workload: Type.String({ maxLength: 255, description: "id or name" }),
      state: InstanceStateSchema,
      host: Type.String({ maxLength: 255, description: "id or name" }),
    },
    read: ({ project, filters: { workload, state, host } }, page) =>
      inventory.read.instances(
        {
          project,
          ...(workload === undefined ? {} : { workload }),
          ...(state === undefined ? {} : { state }),
          ...(host === undefined ? {} : { host }),
        },
        page,
      ),
  });

  addGet(app, {
    noun: "instances",
    member: "instance",
    schema: "Instance",
    summary: "One instance by id or name; `ETag` is its version",
    params: one,
    read: (reference) => inventory.read.instance(reference),
    version: (instance) => instance.version,
  });

  app.get<{
    Params: { instance: string };
    Querystring: { for: InstanceState; timeoutMs?: number; generation?: number };
  }>(
    "/v1/instances/:instance/wait",
    {
      config: { access: "read" },
      schema: {
        operationId: "waitForInstance",
        summary:
          "Answer when an instance is in a state: 200, 408 when it was not in time, 409 when it cannot get there",
        tags,
        params: one,
        querystring: Type.Object(
          {
            for: InstanceStateSchema,
            timeoutMs: Type.Optional(timeoutMs),
            generation: Type.Optional(
              Type.Integer({ minimum: 1, description: "and at least at this generation of its workload" }),
            ),
          },
          { additionalProperties: false },
        ),
        response: answers({ 200: { description: "the instance in that state", schema: ref("Instance") } }),
      },
    },
    async (request, reply) => {
      const { for: wanted, generation = 0 } = request.query;
      const { id, name } = await inventory.read.instance(instanceReference(request));
      const instance = await waitUntil(feed, {
        read: async () => {
          const now = await inventory.read.instance({ project: null, idOrName: id });
          if (now.state === wanted && now.generation >= generation) return now;
          assertReachable(now, wanted);
          return undefined;
        },
        concerns: (event) => event.instanceId === id,
        timeoutMs: request.query.timeoutMs ?? waitDefaultMs,
        signal: clientGone(reply.raw),
        what: `State ${wanted} of instance ${name}`,
      });
      return reply.header("etag", entityTag(instance.version)).send(instance);
    },
  );

  for (const action of Object.keys(descriptions) as InstanceAction[]) {
    app.post<{
      Params: { instance: string };
      Body: { graceMs?: number } | undefined;
      Querystring: { dryRun?: boolean };
    }>(
      `/v1/instances/:instance/${action}`,
      {
        config: { access: "write" },
        schema: {
          operationId: `${action}Instance`,
          summary: descriptions[action],
          tags,
          params: one,
          querystring: query({ dryRun }),
          body: Type.Union([
            Type.Object(
              action === "stop"
                ? {
                    graceMs: Type.Optional(
                      Type.Integer({ minimum: 0, maximum: 3_600_000, description: "instead of its stopGraceMs" }),
                    ),
                  }
                : {},
              { additionalProperties: false },
            ),
            Type.Null(),
          ]),
          response: answers({
            200: { description: "dry run: the instance as it is", schema: ref("Instance") },
            202: { description: "accepted", schema: ref("Operation") },
          }),
        },
      },
      async (request, reply) => {
        const change = changeOf(request);
        const ifVersion = ifMatch(request);
        const graceMs = request.body?.graceMs;
        const instance = instanceReference(request);
        const order = {
          instance,
          action,
          ...(ifVersion === undefined ? {} : { ifVersion }),
          ...(graceMs === undefined ? {} : { graceMs }),
        };
        if (request.query.dryRun === true) {
          await rehearse(inventory, (tx) => tx.orderInstance(change, order));
          return reply.send(await inventory.read.instance(instance));
        }
        const ordered = new Set<string>();
        await answerOnce({ request, reply, inventory }, async (tx) => {
          const operation = await tx.orderInstance(change, order);
          ordered.add(operation.target.id);
          return accepted(operation);
        });
        // Of one that has no host, nobody will report.
        control.wake([...ordered]);
        return reply;
      },
    );
  }
};
