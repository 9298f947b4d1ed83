import type { AttachShare, InstanceId, ShareChange, SharesApplied } from "@bulkhead/contracts";
import type { OrderedUse } from "@bulkhead/inventory";
import { Type } from "typebox";
import { attachFaults } from "../admission/share-rules.ts";
import { assertNoFaults } from "../admission/fault.ts";
import { answers, dryRun, query, ref } from "../http/answers.ts";
import { rehearse } from "../http/once.ts";
import { changeOf } from "../http/request-context.ts";
import { instanceReference } from "./instances.ts";
import type { AddRoutes, RouteContext } from "./route-context.ts";

const one = Type.Object({
  instance: Type.String({ minLength: 1, maxLength: 255, description: "id or name" }),
  share: Type.String({ minLength: 1, maxLength: 255, description: "id or name" }),
});

/** What the agent says came of it; null: it does not answer, and the control loop asks again until it does. */
const apply = async (
  { commands, inventory, log }: RouteContext,
  { agent, instanceId }: OrderedUse,
): Promise<SharesApplied | null> => {
  if (agent === null) return { running: false, outcomes: [] };
  try {
    const applied = await commands.applyShares(agent, { instanceId: instanceId as InstanceId });
    await inventory.write((tx) => tx.confirmShares(instanceId, applied));
    return applied;
  } catch (err) {
    log.info({ err, instanceId }, "shares are applied later");
    return null;
  }
};

const changeFrom = async (
  context: RouteContext,
  use: OrderedUse,
  wanted: "attached" | "detached",
): Promise<ShareChange> => {
  const { share, instance } = use;
  const pending = wanted === "attached" ? "attaching" : "detaching";
  const change = (state: ShareChange["state"], busy = false, detail: string | null = null): ShareChange => ({
    share,
    instance,
    state,
    busy,
    detail,
  });
  const applied = await apply(context, use);
  if (applied === null) return change(pending, false, "its host does not answer; it is asked again until it does");
  const told = applied.outcomes.find(({ shareId }) => shareId === use.shareId);
  if (told !== undefined) return change(told.state === wanted ? wanted : pending, told.busy, told.detail);
  // What is not mentioned is not shown; an instance that does not run sees it at its next start.
  if (wanted === "detached") return change("detached");
  return change(applied.running ? pending : "declared");
};

/** Attaches shares to instances that run, and takes them away again. */
export const addInstanceShareRoutes: AddRoutes = (app, context) => {
  const { inventory, control } = context;
  const response = answers({
    200: { description: "it is so; of a dry run: it could be", schema: ref("ShareChange") },
    202: { description: "ordered; its host has not confirmed it, and `detail` says why", schema: ref("ShareChange") },
  });
  const statusOf = ({ state }: ShareChange): number => (state === "attaching" || state === "detaching" ? 202 : 200);

  app.put<{ Params: { instance: string; share: string }; Body: AttachShare; Querystring: { dryRun?: boolean } }>(
    "/v1/instances/:instance/shares/:share",
    {
      config: { access: "write" },
      schema: {
        operationId: "attachShare",
        summary: "Let an instance see a share, at once when it runs and after each restart",
        tags: ["shares"],
        params: one,
        querystring: query({ dryRun }),
        body: ref("AttachShare"),
        response,
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const { share } = request.params;
      assertNoFaults(attachFaults(request.body));
      const order = { instance: instanceReference(request), share };
      if (request.query.dryRun === true) {
        await rehearse(inventory, (tx) => tx.attachShare(change, order, request.body));
        const instance = await inventory.read.instance(order.instance);
        return reply.send({ share, instance: instance.name, state: "attaching", busy: false, detail: null });
      }
      const use = await inventory.write((tx) => tx.attachShare(change, order, request.body));
      control.wake();
      const made = await changeFrom(context, use, "attached");
      return reply.code(statusOf(made)).send(made);
    },
  );

  app.delete<{ Params: { instance: string; share: string }; Querystring: { dryRun?: boolean } }>(
    "/v1/instances/:instance/shares/:share",
    {
      config: { access: "write" },
      schema: {
        operationId: "detachShare",
        summary: "Take a share away from an instance, at once when it runs",
        tags: ["shares"],
        params: one,
        querystring: query({ dryRun }),
        response,
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const { share } = request.params;
      const order = { instance: instanceReference(request), share };
      if (request.query.dryRun === true) {
        await rehearse(inventory, (tx) => tx.detachShare(change, order));
        const instance = await inventory.read.instance(order.instance);
        return reply.send({ share, instance: instance.name, state: "detaching", busy: false, detail: null });
      }
      const use = await inventory.write((tx) => tx.detachShare(change, order));
      control.wake();
      const made = await changeFrom(context, use, "detached");
      return reply.code(statusOf(made)).send(made);
    },
  );
};
