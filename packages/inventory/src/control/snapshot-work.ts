import type { HostId, InstanceId, Problem, SnapshotId, TakenSnapshot } from "@bulkhead/contracts";
import { appendEvents } from "../api/change.ts";
import { forgetSnapshot } from "../api/snapshots.ts";
import { statement, type Sql } from "../database.ts";
import { assertLeading } from "./leadership.ts";

/** Snapshots looked at in one pass. */
const passMax = 100;

/** A snapshot that its host is to take, or to remove. */
export interface OpenSnapshot {
  readonly id: SnapshotId;
  readonly project: string;
  readonly instanceId: InstanceId;
  readonly hostId: HostId;
  readonly operationId: string;
  readonly traceId: string | null;
  /** how long it has been waited for, in milliseconds */
  readonly ageMs: number;
}

const columns = `s.id, s.project, s.instance_id AS "instanceId", s.host_id AS "hostId", s.operation_id AS "operationId",
  o.trace_id AS "traceId", (extract(epoch FROM now() - s.created_at) * 1000)::float8 AS "ageMs"`;

const selectOpen = (state: "creating" | "deleting") =>
  statement<OpenSnapshot>(
    `control_snapshots_${state}`,
    `SELECT ${columns} FROM snapshot s LEFT JOIN operation o ON o.id = s.operation_id
     WHERE s.state = '${state}' ORDER BY s.id LIMIT ${passMax}`,
  );
const selectWanted = selectOpen("creating");
const selectDoomed = selectOpen("deleting");

/** What hosts have still to do for snapshots. */
export const readSnapshotWork = async (sql: Sql): Promise<{ wanted: OpenSnapshot[]; doomed: OpenSnapshot[] }> => {
  const [wanted, doomed] = await Promise.all([sql.rows(selectWanted, []), sql.rows(selectDoomed, [])]);
  return { wanted, doomed };
};

const markReady = statement(
  "control_snapshot_ready",
  `UPDATE snapshot SET state = 'ready', engine = $2, size_bytes = $3 WHERE id = $1 AND state = 'creating'`,
);
const markDoomed = statement(
  "control_snapshot_failed",
  `UPDATE snapshot SET state = 'deleting' WHERE id = $1 AND state = 'creating'`,
);
const endOperation = statement(
  "control_snapshot_operation",
  `UPDATE operation SET state = $2, progress = NULL, error = $3, finished_at = now() WHERE id = $1 AND state = 'running'`,
);

const finish = async (sql: Sql, snapshot: OpenSnapshot, error: Problem | null): Promise<void> => {
  const { operationId, project, traceId } = snapshot;
  const state = error === null ? "succeeded" : "failed";
  await sql.count(endOperation, [operationId, state, error === null ? null : JSON.stringify(error)]);
  const data = { operationId, kind: "snapshot.create", state, error };
  await appendEvents(sql, { project, traceId }, [{ type: "operation.finished", data }]);
};

/** Its host has taken it. */
export const recordSnapshotTaken = async (
  sql: Sql,
  term: number,
  { snapshot, taken }: { readonly snapshot: OpenSnapshot; readonly taken: TakenSnapshot },
): Promise<void> => {
  await assertLeading(sql, term);
  const { id, project, traceId, instanceId, hostId } = snapshot;
  if ((await sql.count(markReady, [id, taken.engine, taken.sizeBytes])) === 0) return;
  await appendEvents(sql, { project, traceId }, [
    { type: "snapshot.created", instanceId, hostId, data: { snapshotId: id, ...taken } },
  ]);
  await finish(sql, snapshot, null);
};

/** It will not be taken; what of it may lie on its host is removed, and then the row. */
export const recordSnapshotFailed = async (
  sql: Sql,
  term: number,
  { snapshot, error }: { readonly snapshot: OpenSnapshot; readonly error: Problem },
): Promise<void> => {
  await assertLeading(sql, term);
  if ((await sql.count(markDoomed, [snapshot.id])) > 0) await finish(sql, snapshot, error);
};

/** Its files are gone. */
export const recordSnapshotRemoved = async (sql: Sql, term: number, snapshot: OpenSnapshot): Promise<void> => {
  await assertLeading(sql, term);
  await forgetSnapshot(sql, snapshot);
};
