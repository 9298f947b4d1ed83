import type { Assignment } from "@bulkhead/contracts";
import { StartFailure } from "@bulkhead/node";
import { admitShare, idMapped, isExecutable, type SharedMount } from "./admit-share.ts";
import type { ShareStore } from "./share-store.ts";

/**
 * The shares that an instance will see, ready. They stay the instance's when its start fails: it will be tried again, or
 * removed and leave them. Rejects StartFailure MountFailed.
 */
export const openShares = async (
  host: { readonly shares: ShareStore; readonly kernel: string },
  { instanceId, shares }: Assignment,
): Promise<SharedMount[]> => {
  const mounts: SharedMount[] = [];
  for (const share of shares ?? []) {
    const path = admitShare(share);
    const source = await host.shares.use(share, instanceId).catch((cause: unknown) => {
      throw new StartFailure("MountFailed", `share ${share.name}: ${(cause as Error).message}`, cause);
    });
    const { readOnly } = share;
    const ids = idMapped(share, host.kernel);
    mounts.push({ source, path, readOnly, executable: isExecutable(share), idMapped: ids });
  }
  return mounts;
};
