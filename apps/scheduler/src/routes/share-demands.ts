import { type WorkloadSpec, fleetError } from "@bulkhead/contracts";
import type { ShareDemand } from "@bulkhead/placement";
import type { RouteContext } from "./route-context.ts";

/**
 * The shares a specification names, and where they lie. Rejects NOT_FOUND with a pointer to each that is not there or is
 * being deleted, REQUEST_INVALID for one on /dev/shm that is no memory.
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
  const errors = wanted.flatMap(({ share, path }, at) => {
    const found = known.get(share);
    if (found === undefined) return [{ pointer: `/spec/shares/${at}/share`, message: "is no share of this project" }];
    if (path === "/dev/shm" && found.kind !== "shared-memory") {
      return [{ pointer: `/spec/shares/${at}/path`, message: "is for a share of kind shared-memory only" }];
    }
    return [];
  });
  if (errors.length > 0) {
    const missing = names.filter((name) => !known.has(name));
    throw missing.length > 0
      ? fleetError("NOT_FOUND", `Project ${project} has no share ${missing.join(", ")}.`, { fields: { errors } })
      : fleetError("REQUEST_INVALID", "Only shared memory can stand in for /dev/shm.", { fields: { errors } });
  }
  return [...known.values()].map(({ id, name, hostId }) => ({ shareId: id, name, hostId }));
};
