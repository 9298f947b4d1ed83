import type { AssignedNamespaces, AssignedShare } from "@bulkhead/contracts";

interface Pin {
  /** where its data lies; null: anywhere */
  readonly hostId: string | null;
}
type PinnedMount = AssignedShare & Pin;
type PinnedNamespaces = AssignedNamespaces & Pin & { readonly kind: "namespace"; readonly path: null };

/** A share of an instance that is to be placed. */
export type PinnedShare = PinnedMount | PinnedNamespaces;

/**
 * Column `shares` of `instance i`: what it is to see, as JSON. The data of a transient share that nobody uses on its
 * host any more is gone, so such a share may lie anywhere again.
 */
export const sharesColumn = `(
  SELECT coalesce(jsonb_agg(sh.spec || jsonb_build_object(
      'shareId', sh.id, 'name', sh.name, 'path', su.path, 'readOnly', su.read_only,
      'hostId', CASE WHEN sh.spec ->> 'lifetime' = 'kept' OR EXISTS (
          SELECT FROM share_use o JOIN assignment a ON a.instance_id = o.instance_id AND NOT a.tombstone
          WHERE o.share_id = sh.id AND a.host_id = sh.host_id
        ) THEN sh.host_id END) ORDER BY su.path, sh.name), '[]')
  FROM share_use su JOIN share sh ON sh.id = su.share_id
  WHERE su.instance_id = i.id AND su.state <> 'detaching'
) AS shares`;

/** The shares that an instance sees at a path, as its agent receives them. */
export const mountedShares = (pinned: readonly PinnedShare[]): AssignedShare[] =>
  pinned.flatMap((each): AssignedShare[] => {
    if (each.kind === "namespace") return [];
    const { hostId: _elsewhere, ...share } = each;
    return [share];
  });

/** The namespaces that an instance has in common with others, as its agent receives them. */
export const sharedNamespaces = (pinned: readonly PinnedShare[]): AssignedNamespaces | undefined => {
  const found = pinned.find((each) => each.kind === "namespace");
  if (found === undefined) return undefined;
  const { shareId, name, namespaces, sizeBytes } = found;
  return { shareId, name, namespaces, ...(sizeBytes === undefined ? {} : { sizeBytes }) };
};
