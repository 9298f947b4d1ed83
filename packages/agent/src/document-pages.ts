import {
  fleetError,
  type Assignment,
  type DesiredDocument,
  type DocumentPlace,
  type DocumentPosition,
  type Tombstone,
} from "@bulkhead/contracts";

/**
 * A whole answer out of its pages. Rows come in the order in which they changed, and what changed while the pages were read
 * comes once more at their end, so that all of them together are the document of the last page's position. Rejects
 * PLAN_STALE for pages of different documents, and what `fetch` rejects.
 */
export const readPages = async (
  fetch: (after: DocumentPlace | null) => Promise<DesiredDocument>,
): Promise<DesiredDocument> => {
  const assignments: Assignment[] = [];
  const tombstones: Tombstone[] = [];
  const documentOf = ({ position, since }: { position: DocumentPosition; since: number }): string =>
    `${position.clusterId} ${position.era} ${since}`;
  let after: DocumentPlace | null = null;
  let first: string | undefined;
  for (;;) {
    const { next, ...page } = await fetch(after);
    first ??= documentOf(page);
    if (documentOf(page) !== first) {
      throw fleetError("PLAN_STALE", "The pages are of different documents; ask for the first one again.");
    }
    for (const assignment of page.assignments) assignments.push(assignment);
    for (const tombstone of page.tombstones) tombstones.push(tombstone);
    if (next === undefined) return { ...page, assignments, tombstones };
    after = next;
  }
};
