import type { Workload, WorkloadSpec } from "@bulkhead/contracts";
import { fleetError } from "@bulkhead/contracts";
import { instanceName } from "@bulkhead/inventory";
import { demandOf } from "@bulkhead/placement";
import { Type } from "typebox";
import type { RouteContext } from "./route-context.ts";
import { resolveShares } from "./share-demands.ts";

/** Answer of a dry run. */
export const planSchema = Type.Object(
  {
    name: Type.String(),
    spec: Type.Unknown({ description: "the specification with every default filled in" }),
    imageDigest: Type.String(),
    placements: Type.Array(
      Type.Object({
        name: Type.String({ description: "of the instance" }),
        hostId: Type.String(),
        hostName: Type.String(),
        cpuIds: Type.Array(Type.Integer(), { description: "CPUs of its own; empty with the shared policy" }),
      }),
    ),
    unplaced: Type.Array(
      Type.Object({
        name: Type.String({ description: "of the instance" }),
        rejections: Type.Array(Type.Object({ hostId: Type.String(), hostName: Type.String(), reason: Type.String() })),
      }),
      { description: "instances that would wait, and why each host cannot take them" },
    ),
  },
  { description: "what would happen; nothing was written" },
);

interface Wanted {
  readonly name: string;
  readonly spec: WorkloadSpec;
  readonly imageDigest: string;
}

const preview = async (
  context: RouteContext,
  wanted: Wanted & { readonly project: string },
  slots: readonly number[],
) => {
  const { control, inventory } = context;
  const { project, ...shown } = wanted;
  const demand = demandOf(wanted.spec, await resolveShares(context, project, wanted.spec));
  const names = slots.map((slot) => instanceName(wanted.name, slot));
  const plan = await control.preview(names.map((name) => ({ instanceId: name, demand })));
  const hostIds = [...new Set(plan.placements.map(({ hostId }) => hostId))];
  const hosts = await Promise.all(hostIds.map((id) => inventory.read.host(id)));
  const hostNames = new Map<string, string>(hosts.map(({ id, name }) => [id, name]));
  return {
    ...shown,
    placements: plan.placements.map(({ instanceId, hostId, cpuIds }) => ({
      name: instanceId,
      hostId,
      hostName: hostNames.get(hostId) ?? hostId,
      cpuIds,
    })),
    unplaced: plan.unplaced.map(({ instanceId, rejections }) => ({ name: instanceId, rejections })),
  };
};

const range = (count: number): number[] => Array.from({ length: count }, (_, slot) => slot);

/** Where the instances of a new workload would go. Rejects NAME_TAKEN as the real request would. */
export const previewCreate = async (context: RouteContext, wanted: Wanted & { readonly project: string }) => {
  const { project, name, spec, imageDigest } = wanted;
  const taken = await context.inventory.read.workload({ project, idOrName: name }).then(
    () => true,
    (error: { code?: string }) => {
      if (error.code !== "NOT_FOUND") throw error;
      return false;
    },
  );
  if (taken) throw fleetError("NAME_TAKEN", `Project ${project} already has a workload ${name}.`);
  return preview(context, { project, name, spec, imageDigest }, range(spec.replicas ?? 1));
};

/** Where the instances that a patch adds would go. */
export const previewReplicas = (context: RouteContext, before: Workload, spec: WorkloadSpec) => {
  const { project, name, imageDigest } = before;
  const present = before.spec.replicas ?? 1;
  return preview(context, { project, name, spec, imageDigest }, range(spec.replicas ?? 1).slice(present));
};
