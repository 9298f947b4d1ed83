import type { AssignedShare } from "@bulkhead/contracts";

/** A share of an instance that is to be placed. */
export interface PinnedShare extends AssignedShare {
  /** where its data lies; null: anywhere */
  readonly hostId: string | null;
}

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
        ) THEN sh.host_id END) ORDER BY su.path), '[]')
  FROM share_use su JOIN share sh ON sh.id = su.share_id
  WHERE su.instance_id = i.id AND su.state <> 'detaching'
) AS shares`;

/** A share as an agent receives it. */
export const assignedShare = (pinned: PinnedShare): AssignedShare => {
  const { hostId: _elsewhere, ...share } = pinned;
  return share;
};
