import { type WorkloadSpec, fleetError } from "@bulkhead/contracts";
import type { ShareDemand } from "@bulkhead/placement";
import { assertNoFaults } from "../admission/fault.ts";
import { shareKindFaults } from "../admission/share-rules.ts";
import type { RouteContext } from "./route-context.ts";

/**
 * The shares a specification names, and where they lie. Rejects NOT_FOUND with a pointer to each that is not there or is
 * being deleted, REQUEST_INVALID and FIELD_NOT_APPLICABLE for what its kind does not allow.
 */
export const resolveShares = async (
  { inventory }: Pick<RouteContext, "inventory">,
  project: string,
  spec: WorkloadSpec,
): Promise<ShareDemand[]> => {
  const wanted = spec.shares ?? [];
  if (wanted.length === 0) return [];
  const names = wanted.map(({ share }) => share);
  const known = new Map((await inventory.read.usableShares(project, names)).map((share) => [share.name, share]));
  const missing = wanted.flatMap(({ share }, at) =>
    known.has(share) ? [] : [{ pointer: `/spec/shares/${at}/share`, message: "is no share of this project" }],
  );
  if (missing.length > 0) {
    const absent = names.filter((name) => !known.has(name));
    throw fleetError("NOT_FOUND", `Project ${project} has no share ${absent.join(", ")}.`, {
      fields: { errors: missing },
    });
  }
  assertNoFaults(shareKindFaults(spec, known));
  return [...known.values()].map(({ id, name, hostId, kind }) => ({ shareId: id, name, hostId, kind }));
};
