import { fleetError, toProblem, type SnapshotId } from "@bulkhead/contracts";
import { statement, type Sql } from "../database.ts";
import type { InstanceRow } from "./fold-instance.ts";
import { recordSnapshotCorrupt } from "./snapshot-work.ts";

const selectOrigins = statement<{ readonly id: string; readonly snapshotId: SnapshotId }>(
  "control_fold_origins",
  `SELECT i.id, s.id AS "snapshotId" FROM instance i
   JOIN snapshot s ON s.id = (i.spec #>> '{vm,restoredFrom,snapshotId}')::uuid AND s.host_id = i.host_id
   WHERE i.id = ANY($1::uuid[])`,
);

/** A copy that could not begin because of its snapshot's files tells of the snapshot, too, where the files lie. */
export const markCorruptSnapshots = async (sql: Sql, changed: readonly InstanceRow[]): Promise<void> => {
  const refused = new Map(changed.filter(({ reason }) => reason === "SnapshotCorrupt").map((row) => [row.id, row]));
  if (refused.size === 0) return;
  for (const { id, snapshotId } of await sql.rows(selectOrigins, [[...refused.keys()]])) {
    const row = refused.get(id);
    const problem = toProblem(fleetError("SNAPSHOT_CORRUPT", row?.detail ?? ""));
    await recordSnapshotCorrupt(sql, { id: snapshotId, problem, traceId: row?.traceparent?.split("-")[1] ?? null });
  }
};
