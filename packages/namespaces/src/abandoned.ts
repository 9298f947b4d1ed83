import { existsSync } from "node:fs";
import { join } from "node:path";
import type { InstanceId } from "@bulkhead/contracts";
import type { HostPaths, UidRanges } from "@bulkhead/host";
import type { ScratchDisks } from "./scratch-disk.ts";
import type { ShareStore } from "./shares/share-store.ts";
import type { Trash } from "./trash.ts";

export interface Belongings {
  /** whose runtime looks: the VM agent's, or the containers' */
  readonly paths: Pick<HostPaths, "isolation" | "instancesOf">;
  readonly shares: ShareStore;
  readonly disks: ScratchDisks;
  readonly uidRanges: UidRanges;
  readonly trash: Trash;
}

/**
 * Gives back what belongs to instances that this host does not have: an agent was killed while it started or removed
 * them. `instances`: those of this agent whose directories are there.
 */
export const giveBackAbandoned = async (
  { paths, shares, disks, uidRanges, trash }: Belongings,
  instances: readonly InstanceId[],
): Promise<void> => {
  const isHere = (id: string): boolean => Object.values(paths.instancesOf).some((path) => existsSync(join(path, id)));
  // One agent of the two looks, for what holds namespaces and disks is its own.
  if (paths.isolation === "container") {
    await shares.forgetAbsent(isHere);
    await disks.closeAbsent(isHere);
  }
  const known = new Set<string>([...instances, ...(await shares.known())]);
  const abandoned = uidRanges.holders().filter((id) => !known.has(id) && !isHere(id));
  if (abandoned.length === 0) return;
  await trash.settled();
  for (const holder of abandoned) uidRanges.free(holder);
};
