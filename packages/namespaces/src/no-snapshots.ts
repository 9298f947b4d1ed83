import { fleetError } from "@bulkhead/contracts";
import type { Runtime } from "@bulkhead/node";

/** What containers have instead of snapshots. */
export const noSnapshots: Pick<Runtime, "snapshot" | "removeSnapshot"> = {
  snapshot: () => {
    const why = "a container is part of its host's kernel, of which no part can be taken to a file";
    return Promise.reject(fleetError("SNAPSHOT_UNSUPPORTED", why));
  },
  removeSnapshot: () => Promise.resolve(),
};
