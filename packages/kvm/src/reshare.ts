import type { AssignedShare, ShareOutcome } from "@bulkhead/contracts";

/** What becomes of a wish to change what a machine sees: it sees from its start to its end what it began with. */
export const reshareFixed = (seen: readonly AssignedShare[], wanted: readonly AssignedShare[]): ShareOutcome[] => {
  const present = new Map(seen.map((share) => [share.shareId, share]));
  const outcomes = wanted.map((share): ShareOutcome => {
    const { shareId } = share;
    const same = present.get(shareId);
    present.delete(shareId);
    if (same?.path === share.path && same.readOnly === share.readOnly) {
      return { shareId, state: "attached", busy: false, detail: null };
    }
    return { shareId, state: "failed", busy: false, detail: "a VM sees from its start on what it sees" };
  });
  const kept = [...present.keys()].map((shareId): ShareOutcome => {
    return { shareId, state: "failed", busy: true, detail: "a VM sees it until it ends" };
  });
  return [...outcomes, ...kept];
};
