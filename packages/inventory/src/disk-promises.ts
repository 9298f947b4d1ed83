import { snapshotStateBytesMax } from "@bulkhead/contracts";

/** SQL: what a snapshot of a spec in `column` takes of its host's disk at least, in bytes. */
export const snapshotBytes = (column: string): string =>
  `((${column} #>> '{resources,memoryBytes}')::int8 + ${snapshotStateBytesMax})`;

/**
 * SQL: what a host's disk is promised to and does not hold yet, in bytes: snapshots that are being taken, and the disks of
 * copies that have not begun. What is written is no part of what its agent calls free any more.
 */
export const promisedDiskBytes = (hostId: string): string => `(
  coalesce((SELECT sum(${snapshotBytes("t.spec")}) FROM snapshot t WHERE t.host_id = ${hostId} AND t.state = 'creating'), 0)
  + coalesce((SELECT sum(o.copy_bytes) FROM assignment d
      JOIN instance c ON c.id = d.instance_id AND c.started_at IS NULL
      JOIN snapshot o ON o.id = (d.document #>> '{spec,vm,restoredFrom,snapshotId}')::uuid
      WHERE d.host_id = ${hostId} AND d.gone_at IS NULL), 0)
)`;
