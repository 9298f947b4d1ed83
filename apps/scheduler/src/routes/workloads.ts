import {
  type CreateWorkload,
  type Isolation,
  type PatchWorkload,
  type Workload,
  type WorkloadSpec,
  fleetError,
  hasOwnNetwork,
  isFleetError,
} from "@bulkhead/contracts";
import type { FastifyRequest } from "fastify";
import { Type } from "typebox";
import { withDefaults } from "../admission/defaults.ts";
import { type Fault, assertNoFaults } from "../admission/fault.ts";
import { withKernel } from "../admission/kernel-choice.ts";
import { revise } from "../admission/patch-rules.ts";
import { sizeFaults, workloadFaults } from "../admission/spec-rules.ts";
import { accepted, answers, byReference, dryRun, query, ref } from "../http/answers.ts";
import { entityTag, ifMatch } from "../http/entity-tag.ts";
import { answerOnce, rehearse } from "../http/once.ts";
import { changeOf } from "../http/request-context.ts";
import { addGet, addList } from "../http/reading.ts";
import { resolveShares } from "./share-demands.ts";
import { planSchema, previewCreate, previewReplicas } from "./preview.ts";
import type { AddRoutes, RouteContext } from "./route-context.ts";

const tags = ["workloads"];
const one = byReference("workload", "id or name");

/** Throws LIMIT_INFEASIBLE only on what the database says now. */
const assertSize = async (
  { fleetSize }: RouteContext,
  isolation: Isolation,
  faults: (largest: Awaited<ReturnType<typeof fleetSize.largest>>) => readonly Fault[],
): Promise<void> => {
  if (faults(await fleetSize.largest(isolation)).length === 0) return;
  assertNoFaults(faults(await fleetSize.refresh(isolation)));
};

const labelsOf = (selector: string | undefined): Record<string, string> | undefined => {
  if (selector === undefined) return undefined;
  const pairs = selector.split(",").map((pair) => pair.split("="));
  if (pairs.some((pair) => pair.length !== 2 || pair[0] === "")) {
    throw fleetError("REQUEST_INVALID", "`labelSelector` must be `name=value` pairs with commas between.", {
      fields: { errors: [{ pointer: "/labelSelector", message: "is not name=value,…" }] },
    });
  }
  return Object.fromEntries(pairs as [string, string][]);
};

/** Image digest of a specification. Rejects IMAGE_UNAVAILABLE. */
const resolveImage = async (context: RouteContext, project: string, spec: WorkloadSpec): Promise<string> => {
  const image = await context.inventory.read.findImage(project, spec.image);
  if (image !== undefined) return image.digest;
  throw fleetError("IMAGE_UNAVAILABLE", `Project ${project} has no image ${spec.image}.`, {
    fields: { errors: [{ pointer: "/spec/image", message: "is not an imported image" }] },
  });
};

/** Rejects NETWORK_UNKNOWN before anything is written; the transaction asks again. */
const assertNetwork = async ({ inventory }: RouteContext, project: string, spec: WorkloadSpec): Promise<void> => {
  if (!hasOwnNetwork(spec)) return;
  const name = spec.network ?? "";
  await inventory.read.network({ project, idOrName: name }).catch((error: unknown) => {
    if (!isFleetError(error) || error.code !== "NOT_FOUND") throw error;
    throw fleetError("NETWORK_UNKNOWN", `Project ${project} has no network ${name}.`, {
      fields: { errors: [{ pointer: "/spec/network", message: "is no network of the project" }] },
      cause: error,
    });
  });
};

export const addWorkloadRoutes: AddRoutes = (app, context) => {
  const { inventory, control } = context;

  app.post<{ Body: CreateWorkload; Querystring: { dryRun?: boolean } }>(
    "/v1/workloads",
    {
      config: { access: "write" },
      schema: {
        operationId: "createWorkload",
        summary: "Declare a workload; its instances are placed and started",
        tags,
        querystring: query({ dryRun }),
        body: ref("CreateWorkload"),
        response: answers({
          200: { description: "dry run: where its instances would go", schema: planSchema },
          202: { description: "accepted", schema: ref("Operation") },
        }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const { name } = request.body;
      const asked = withDefaults(request.body.spec);
      assertNoFaults(workloadFaults({ name, spec: asked }));
      const spec = await withKernel(inventory, change.project, asked);
      await assertSize(context, spec.isolation ?? "container", (largest) => sizeFaults(spec, largest));
      const [imageDigest] = await Promise.all([
        resolveImage(context, change.project, spec),
        resolveShares(context, change.project, spec),
        assertNetwork(context, change.project, spec),
      ]);
      if (request.query.dryRun === true) {
        return reply.send(await previewCreate(context, { project: change.project, name, spec, imageDigest }));
      }
      await answerOnce({ request, reply, inventory }, async (tx) =>
        accepted(await tx.createWorkload(change, { name, spec, imageDigest }), { etag: entityTag(1) }),
      );
      control.wake();
      return reply;
    },
  );

  addList<{ labelSelector: string }>(app, {
    noun: "workloads",
    schema: "Workload",
    summary: "List workloads in the order they were created",
    filters: {
      labelSelector: Type.String({ maxLength: 1024, description: "`name=value` pairs with commas between" }),
    },
    read: ({ project, filters: { labelSelector } }, page) => {
      const labels = labelsOf(labelSelector);
      return inventory.read.workloads({ project, ...(labels === undefined ? {} : { labels }) }, page);
    },
  });

  addGet(app, {
    noun: "workloads",
    member: "workload",
    schema: "Workload",
    summary: "One workload by id or name; `ETag` is its generation",
    params: one,
    read: (reference) => inventory.read.workload(reference),
    version: (workload) => workload.generation,
  });

  app.patch<{ Params: { workload: string }; Body: PatchWorkload; Querystring: { dryRun?: boolean } }>(
    "/v1/workloads/:workload",
    {
      config: { access: "write" },
      schema: {
        operationId: "patchWorkload",
        summary: "Change a workload by merge patch; limits of running instances change without a restart",
        tags,
        params: one,
        querystring: query({ dryRun }),
        consumes: ["application/merge-patch+json", "application/json"],
        body: ref("PatchWorkload"),
        response: answers({
          200: { description: "dry run: the specification it would have", schema: planSchema },
          202: { description: "accepted", schema: ref("Operation") },
        }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const workload = referenceOf(request);
      const ifGeneration = ifMatch(request);
      const before = await inventory.read.workload(workload);
      const isolation = before.spec.isolation ?? "container";
      const revised = (present: Workload, largest?: Awaited<ReturnType<RouteContext["fleetSize"]["largest"]>>) =>
        revise(present, request.body, largest);
      await assertSize(context, isolation, (largest) => {
        const after = revised(before);
        // What it has already may be more than the present hosts have; only asking for more is refused.
        return JSON.stringify(after.resources) === JSON.stringify(before.spec.resources)
          ? []
          : sizeFaults(after, largest);
      });
      const after = revised(before);
      // What more instances of it may see is for its shares to say.
      if ((after.replicas ?? 1) > (before.spec.replicas ?? 1)) await resolveShares(context, before.project, after);
      const update = {
        workload,
        ...(ifGeneration === undefined ? {} : { ifGeneration }),
        revise: (present: Workload) => revised(present),
      };
      if (request.query.dryRun === true) {
        await rehearse(inventory, (tx) => tx.patchWorkload(change, update));
        return reply.send(await previewReplicas(context, before, after));
      }
      const changed = new Set<string>();
      await answerOnce({ request, reply, inventory }, async (tx) => {
        const made = await tx.patchWorkload(change, update);
        changed.add(made.workload.id);
        return accepted(made.operation, { etag: entityTag(made.workload.generation) });
      });
      // Fewer instances of those that wait for a host: nobody will report on it.
      control.wake([...changed]);
      return reply;
    },
  );

  app.delete<{ Params: { workload: string }; Querystring: { graceMs?: number; dryRun?: boolean } }>(
    "/v1/workloads/:workload",
    {
      config: { access: "write" },
      schema: {
        operationId: "deleteWorkload",
        summary: "Stop and remove a workload with all its instances",
        tags,
        params: one,
        querystring: query({
          graceMs: Type.Integer({
            minimum: 0,
            maximum: 3_600_000,
            description: "instead of the workload's stopGraceMs",
          }),
          dryRun,
        }),
        response: answers({
          200: { description: "dry run: what would be deleted", schema: ref("Workload") },
          202: { description: "accepted", schema: ref("Operation") },
        }),
      },
    },
    async (request, reply) => {
      const change = changeOf(request);
      const workload = referenceOf(request);
      const ifGeneration = ifMatch(request);
      const { graceMs } = request.query;
      const deletion = {
        workload,
        ...(ifGeneration === undefined ? {} : { ifGeneration }),
        ...(graceMs === undefined ? {} : { graceMs }),
      };
      if (request.query.dryRun === true) {
        await rehearse(inventory, (tx) => tx.deleteWorkload(change, deletion));
        return reply.send(await inventory.read.workload(workload));
      }
      const deleted = new Set<string>();
      await answerOnce({ request, reply, inventory }, async (tx) => {
        const operation = await tx.deleteWorkload(change, deletion);
        deleted.add(operation.target.id);
        return accepted(operation);
      });
      // What was begun with it before is over now.
      control.wake([...deleted]);
      return reply;
    },
  );
};

const referenceOf = (request: FastifyRequest<{ Params: { workload: string } }>) => ({
  project: request.project,
  idOrName: request.params.workload,
});
