import type { PatchWorkload, Resources, Workload, WorkloadSpec } from "@bulkhead/contracts";
import { fleetError } from "@bulkhead/contracts";
import { instanceName } from "@bulkhead/inventory";
import { demandOf } from "@bulkhead/placement";
import { withDefaults } from "./defaults.ts";
import { type Fault, assertNoFaults } from "./fault.ts";
import { type LargestCapacity, limitFaults, sizeFaults } from "./spec-rules.ts";
import { specSizeFaults } from "./spec-size.ts";

type Members = Readonly<Record<string, unknown>>;

const isObject = (value: unknown): value is Members =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** RFC 7396: objects merge, null removes, everything else replaces. */
export const mergePatch = (target: unknown, patch: unknown): unknown => {
  if (!isObject(patch)) return patch;
  const merged: Record<string, unknown> = isObject(target) ? { ...target } : {};
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete merged[name];
    else merged[name] = mergePatch(merged[name], value);
  }
  return merged;
};

const limits = ["cpuMillis", "cpuLimitMillis", "memoryBytes", "memoryReservationBytes", "pidsMax", "io"] as const;

const changedLimits = (before: Resources, after: Resources): string[] =>
  limits.filter((name) => JSON.stringify(before[name] ?? null) !== JSON.stringify(after[name] ?? null));

const dedicatedFaults = (before: WorkloadSpec, after: WorkloadSpec): Fault[] => {
  const held = demandOf(before).dedicatedCpus;
  if (demandOf(after).dedicatedCpus === held) return [];
  return [
    {
      code: "LIMIT_INFEASIBLE",
      pointer: "/spec/resources/cpuMillis",
      message: `would change the ${held} dedicated CPUs, which are given out at placement; replace the workload instead`,
      nearest: { cpuMillis: before.resources.cpuMillis },
    },
  ];
};

const nameFaults = (name: string, replicas: number): Fault[] => {
  const longest = instanceName(name, Math.max(0, replicas - 1));
  if (longest.length <= 63) return [];
  const message = `would name an instance ${longest}, more than 63 characters`;
  return [{ code: "REQUEST_INVALID", pointer: "/spec/replicas", message }];
};

/** The specification a patch makes of the present one. Throws what is wrong with it, all at once. */
export const revise = (
  workload: Workload,
  patch: PatchWorkload,
  largest: LargestCapacity | undefined,
): WorkloadSpec => {
  const before = workload.spec;
  const after = withDefaults(mergePatch(before, patch.spec) as WorkloadSpec);
  const changed = changedLimits(before.resources, after.resources);
  if (changed.length > 0 && before.isolation === "vm") {
    throw fleetError(
      "LIMIT_INFEASIBLE",
      `The size of a VM is fixed at its start (${changed.join(", ")}); create a workload with the new size and delete ${workload.name}.`,
      { fields: { errors: changed.map((name) => ({ pointer: `/spec/resources/${name}`, message: "is fixed" })) } },
    );
  }
  const labels = Object.keys(after.labels ?? {}).length;
  assertNoFaults([
    ...(changed.length === 0 ? [] : [...limitFaults(after), ...sizeFaults(after, largest)]),
    ...dedicatedFaults(before, after),
    ...nameFaults(workload.name, after.replicas ?? 1),
    ...specSizeFaults(after, before),
    ...(labels <= 64
      ? []
      : [{ code: "REQUEST_INVALID" as const, pointer: "/spec/labels", message: "must not be more than 64" }]),
  ]);
  return after;
};
