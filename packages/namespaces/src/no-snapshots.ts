import { fleetError } from "@bulkhead/contracts";
import type { Runtime } from "@bulkhead/node";

/** What containers have instead of snapshots. */
export const noSnapshots: Pick<Runtime, "snapshot" | "verifySnapshot" | "removeSnapshot"> = {
  snapshot: () => {
    const why = "a container is part of its host's kernel, of which no part can be taken to a file";
    return Promise.reject(fleetError("SNAPSHOT_UNSUPPORTED", why));
  },
  verifySnapshot: (snapshotId) =>
    Promise.reject(fleetError("NOT_FOUND", `snapshot ${snapshotId} is not on this host, which runs containers`)),
  removeSnapshot: () => Promise.resolve(),
};
