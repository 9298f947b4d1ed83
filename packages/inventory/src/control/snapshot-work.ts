import type { HostId, InstanceId, Problem, SnapshotId, TakenSnapshot } from "@bulkhead/contracts";
import { appendEvents } from "../api/change.ts";
import { forgetSnapshot } from "../api/snapshots.ts";
import { statement, type Sql } from "../database.ts";
import { assertLeading } from "./leadership.ts";

/** Snapshots of one host looked at in one pass: what lies on a host that does nothing holds up no other one. */
const hostMax = 100;

/** A snapshot that its host is to take, to read or to remove. */
export interface OpenSnapshot {
  readonly id: SnapshotId;
  readonly project: string;
  readonly instanceId: InstanceId;
  readonly hostId: HostId;
  readonly operationId: string;
  readonly traceId: string | null;
}

const selectOpen = (name: string, operation: "operation_id" | "verify_operation_id", condition: string) =>
  statement<OpenSnapshot>(
    `control_snapshots_${name}`,
    `SELECT s.id, s.project, s.instance_id AS "instanceId", s.host_id AS "hostId", s.${operation} AS "operationId",
       o.trace_id AS "traceId"
     FROM (SELECT s.*, row_number() OVER (PARTITION BY s.host_id ORDER BY s.id) AS turn FROM snapshot s WHERE ${condition}) s
     LEFT JOIN operation o ON o.id = s.${operation}
     WHERE s.turn <= ${hostMax} ORDER BY s.id`,
  );
// A host that is silent is asked for these all the same: whoever waits for one is told after a while that it is silent.
const selectWanted = selectOpen("wanted", "operation_id", "s.state = 'creating'");
const selectDoubted = selectOpen("doubted", "verify_operation_id", "s.verify_operation_id IS NOT NULL");
const selectDoomed = selectOpen(
  "doomed",
  "operation_id",
  `s.state IN ('failed', 'deleting')
     AND EXISTS (SELECT FROM host_agent a WHERE a.host_id = s.host_id AND a.isolation = 'vm' AND a.state = 'ready')`,
);

/** What hosts have still to do for snapshots. */
export interface SnapshotWork {
  readonly wanted: OpenSnapshot[];
  readonly doubted: OpenSnapshot[];
  readonly doomed: OpenSnapshot[];
}

export const readSnapshotWork = async (sql: Sql): Promise<SnapshotWork> => {
  const all = [selectWanted, selectDoubted, selectDoomed].map((each) => sql.rows(each, []));
  const [wanted = [], doubted = [], doomed = []] = await Promise.all(all);
  return { wanted, doubted, doomed };
};

const markReady = statement(
  "control_snapshot_ready",
  `UPDATE snapshot SET state = 'ready', engine = $2, size_bytes = $3, copy_bytes = $4 WHERE id = $1 AND state = 'creating'`,
);
const markFailed = statement(
  "control_snapshot_failed",
  `UPDATE snapshot SET state = 'failed', problem = $2 WHERE id = $1 AND state = 'creating'`,
);
const endVerification = statement(
  "control_snapshot_verified",
  `UPDATE snapshot SET verify_operation_id = NULL WHERE id = $1 AND verify_operation_id = $2`,
);
const markSound = statement(
  "control_snapshot_sound",
  `UPDATE snapshot SET state = 'ready', problem = NULL WHERE id = $1 AND state = 'corrupt'`,
);
const markCorrupt = statement<{ readonly project: string; readonly hostId: HostId }>(
  "control_snapshot_corrupt",
  `UPDATE snapshot SET state = 'corrupt', problem = $2 WHERE id = $1 AND state = 'ready'
   RETURNING project, host_id AS "hostId"`,
);
const endOperation = statement(
  "control_snapshot_operation",
  `UPDATE operation SET state = $2, progress = NULL, error = $3, finished_at = now() WHERE id = $1 AND state = 'running'`,
);

const writeProgress = statement(
  "control_snapshot_progress",
  `UPDATE operation SET progress = $2 WHERE id = $1 AND state = 'running' AND progress IS DISTINCT FROM $2`,
);

/** Its host is at work. */
export const recordSnapshotProgress = async (
  sql: Sql,
  term: number,
  { snapshot, progress }: { readonly snapshot: OpenSnapshot; readonly progress: string },
): Promise<void> => {
  await assertLeading(sql, term);
  await sql.count(writeProgress, [snapshot.operationId, progress]);
};

type Kind = "snapshot.create" | "snapshot.verify";

const finish = async (sql: Sql, kind: Kind, snapshot: OpenSnapshot, error: Problem | null): Promise<void> => {
  const { operationId, project, traceId } = snapshot;
  const state = error === null ? "succeeded" : "failed";
  await sql.count(endOperation, [operationId, state, error === null ? null : JSON.stringify(error)]);
  const data = { operationId, kind, state, error };
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
  if ((await sql.count(markReady, [id, taken.engine, taken.sizeBytes, taken.copyBytes ?? null])) === 0) return;
  await appendEvents(sql, { project, traceId }, [
    { type: "snapshot.created", instanceId, hostId, data: { snapshotId: id, ...taken } },
  ]);
  await finish(sql, "snapshot.create", snapshot, null);
};

/** It will not be taken: `failed` until what of it may lie on its host is removed, and then the row is. */
export const recordSnapshotFailed = async (
  sql: Sql,
  term: number,
  { snapshot, error }: { readonly snapshot: OpenSnapshot; readonly error: Problem },
): Promise<void> => {
  await assertLeading(sql, term);
  const failed = await sql.count(markFailed, [snapshot.id, JSON.stringify(error)]);
  if (failed > 0) await finish(sql, "snapshot.create", snapshot, error);
};

/** One is known not to be what was written, and is restored no more. */
export const recordSnapshotCorrupt = async (
  sql: Sql,
  { id, problem, traceId }: { readonly id: SnapshotId; readonly problem: Problem; readonly traceId: string | null },
): Promise<void> => {
  const [marked] = await sql.rows(markCorrupt, [id, JSON.stringify(problem)]);
  if (marked === undefined) return;
  const { project, hostId } = marked;
  await appendEvents(sql, { project, traceId }, [
    { type: "snapshot.corrupt", hostId, data: { snapshotId: id, problem } },
  ]);
};

/** Its host has read its files, or said why it cannot; `unsound`: what it said makes the snapshot useless. */
export const recordSnapshotVerified = async (
  sql: Sql,
  term: number,
  told: { readonly snapshot: OpenSnapshot; readonly error: Problem | null; readonly unsound: boolean },
): Promise<void> => {
  await assertLeading(sql, term);
  const { snapshot, error, unsound } = told;
  const { id, operationId, traceId } = snapshot;
  if ((await sql.count(endVerification, [id, operationId])) === 0) return;
  if (error === null) await sql.count(markSound, [id]);
  else if (unsound) await recordSnapshotCorrupt(sql, { id, problem: error, traceId });
  await finish(sql, "snapshot.verify", snapshot, error);
};

/** Its files are gone. */
export const recordSnapshotRemoved = async (sql: Sql, term: number, snapshot: OpenSnapshot): Promise<void> => {
  await assertLeading(sql, term);
  await forgetSnapshot(sql, snapshot);
};
