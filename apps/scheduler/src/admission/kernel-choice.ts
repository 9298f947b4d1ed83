import { type WorkloadSpec, fleetError } from "@bulkhead/contracts";
import type { ApiInventory } from "@bulkhead/inventory";

/**
 * The specification with its kernel as a digest, by which hosts fetch it: the one that it names, or the project's default.
 * Without either, hosts use Debian's own. Rejects KERNEL_UNKNOWN.
 */
export const withKernel = async (
  { read }: Pick<ApiInventory, "read">,
  project: string,
  spec: WorkloadSpec,
): Promise<WorkloadSpec> => {
  if (spec.isolation !== "vm") return spec;
  const { kernel: named, ...vm } = spec.vm ?? {};
  if (named === undefined) {
    const kernel = await read.defaultKernel(project);
    return kernel === undefined ? spec : { ...spec, vm: { ...vm, kernel } };
  }
  const found = await read.findKernel({ project, idOrName: named });
  if (found !== undefined) return { ...spec, vm: { ...vm, kernel: found.digest } };
  throw fleetError("KERNEL_UNKNOWN", `Project ${project} has no kernel ${named}.`, {
    fields: { errors: [{ pointer: "/spec/vm/kernel", message: "is no kernel of the project" }] },
  });
};
