import { createHash } from "node:crypto";
import type { Assignment, Tombstone } from "./instance.ts";

/**
 * Digest of a whole desired-state document, equal on both sides when both hold the same assignments and tombstones in
 * whatever order. Only what decides behaviour counts: identity, epoch, generation, desired state, restart request.
 */
export const documentDigest = (assignments: readonly Assignment[], tombstones: readonly Tombstone[]): string => {
  const lines = [
    ...assignments.map(
      (a) => `a ${a.instanceId} ${a.epoch.era}.${a.epoch.n} ${a.generation} ${a.desired} ${a.restartRequest}`,
    ),
    ...tombstones.map((t) => `t ${t.instanceId} ${t.epoch.era}.${t.epoch.n}`),
  ].sort();
  return createHash("sha256").update(lines.join("\n")).digest("hex");
};
