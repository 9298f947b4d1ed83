import type { WorkloadSpec } from "./workload.ts";

/** Spec fields that only some hosts can enforce, by their path in the spec; a host names its own in its facts. */
export const enforceableFields = [
  "resources.cpuMillis",
  "resources.cpuLimitMillis",
  "resources.cpuPolicy",
  "resources.memoryBytes",
  "resources.memoryReservationBytes",
  "resources.pidsMax",
  "resources.diskBytes",
  "resources.io.readBytesPerSec",
  "resources.io.writeBytesPerSec",
  "resources.io.readOpsPerSec",
  "resources.io.writeOpsPerSec",
  "resources.io.weight",
  "network",
  "bandwidth",
  "container.writable",
  "shares.namespace",
  "vm.engine.kvm",
  "vm.engine.qemu",
  "vm.kernel",
  "vm.memoryPolicy",
  "vm.hugepages",
  "vm.shares",
  "vm.restoredFrom",
] as const;
/** What a workload needs whose shares have one of kind namespace; which kind they are its spec does not say. */
export const namespaceShareField = "shares.namespace";
/** What a VM needs that sees shares or directories of its host, which its spec names where a container's does. */
export const machineShareField = "vm.shares";
export type EnforceableField = (typeof enforceableFields)[number];

const isSet = (spec: WorkloadSpec, field: EnforceableField): boolean => {
  if (field === machineShareField) {
    return spec.isolation === "vm" && [...(spec.mounts ?? []), ...(spec.shares ?? [])].length > 0;
  }
  let value: unknown = spec;
  for (const key of field.split(".")) {
    value = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
  }
  if (field.startsWith("vm.engine.")) return field === `vm.engine.${spec.vm?.engine}`;
  // What a host does anyway is no demand.
  if (field === "vm.memoryPolicy" || field === "vm.hugepages") return value === "locked" || value === true;
  // Loopback needs no network of the host, and the host's own is a permission, not an ability.
  if (field === "network" && (value === "none" || value === "host")) return false;
  // The shared policy is the absence of one, which every host can enforce.
  return value !== undefined && !(field === "resources.cpuPolicy" && value === "shared");
};

/** The fields of the catalogue that a spec uses, so a host must be able to enforce them. */
export const usedFields = (spec: WorkloadSpec): EnforceableField[] =>
  enforceableFields.filter((field) => isSet(spec, field));
