import { statement } from "../database.ts";
import type { InstanceRow } from "./fold-instance.ts";

/** Statements of the report folder; `fold.ts` says in which order they run. */

export interface PositionRow {
  readonly hostId: string;
  readonly isolation: string;
  readonly journal: string;
  readonly foldedSeq: number;
}

export const selectPositions = statement<PositionRow>(
  "control_fold_positions",
  `SELECT a.host_id AS "hostId", a.isolation, a.journal, a.folded_seq AS "foldedSeq"
   FROM host_agent a JOIN unnest($1::uuid[], $2::text[]) AS w(host_id, isolation)
     ON w.host_id = a.host_id AND w.isolation = a.isolation`,
);

export const lockInstances = statement<Omit<InstanceRow, "startedAt"> & { startedAt: Date | null }>(
  "control_fold_instances",
  `SELECT id, project, workload_id AS "workloadId", name, isolation, host_id AS "hostId", era, epoch_n AS "epochN", generation,
     seen_generation AS "seenGeneration", state, attempt, restarts, reason, detail, exit, resize,
     contract_held AS "contractHeld", machine, started_at AS "startedAt", traceparent
   FROM instance WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE`,
);

/** Guarded by the position that was read: of two folders of one batch, the second finds no row. */
export const movePositions = statement<{ hostId: string }>(
  "control_fold_positions_move",
  `UPDATE host_agent a SET journal = w.journal, folded_seq = w.seq
   FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int8[], $5::text[], $6::int8[])
     AS w(host_id, isolation, journal, seq, old_journal, old_seq)
   WHERE a.host_id = w.host_id AND a.isolation = w.isolation AND a.journal = w.old_journal AND a.folded_seq = w.old_seq
   RETURNING a.host_id AS "hostId"`,
);

export const updateInstances = statement(
  "control_fold_update",
  `UPDATE instance i
   SET state = w.state, attempt = w.attempt, restarts = w.restarts, reason = w.reason, detail = w.detail, exit = w.exit,
       resize = w.resize, contract_held = w.held, seen_generation = w.seen, started_at = w.started_at,
       machine = w.machine, version = i.version + 1
   FROM unnest($1::uuid[], $2::text[], $3::int[], $4::int[], $5::text[], $6::text[], $7::jsonb[], $8::jsonb[], $9::bool[],
     $10::int[], $11::timestamptz[], $12::jsonb[])
     AS w(id, state, attempt, restarts, reason, detail, exit, resize, held, seen, started_at, machine)
   WHERE i.id = w.id`,
);

export const insertEvents = statement(
  "control_fold_events",
  `INSERT INTO event_inbox (type, project, workload_id, instance_id, host_id, at, data, trace_id)
   SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::jsonb[], $8::text[])`,
);

// Only what the agent that tells it was to end. An instance is removed with the end of its newest assignment; tombstones
// of older ones may outlive it.
export const endAssignments = statement<{ instanceId: string; workloadId: string | null }>(
  "control_fold_gone",
  `WITH ended AS (
     UPDATE assignment s SET gone_at = now()
     FROM unnest($1::uuid[], $2::int[], $3::int[], $4::uuid[], $5::text[]) AS g(instance_id, era, n, host_id, isolation)
     WHERE s.instance_id = g.instance_id AND s.era = g.era AND s.n = g.n AND s.host_id = g.host_id
       AND s.isolation = g.isolation AND s.tombstone AND s.gone_at IS NULL
     RETURNING s.instance_id, s.era, s.n, s.host_id
   ), freed AS (
     UPDATE host h SET version = h.version + 1 WHERE h.id IN (SELECT host_id FROM ended)
   ), removed AS (
     DELETE FROM instance i USING ended e
     WHERE i.id = e.instance_id AND i.removing AND i.era = e.era AND i.epoch_n = e.n
     RETURNING i.id, i.project, i.workload_id, i.name, i.traceparent, e.host_id
   ), told AS (
     INSERT INTO event_inbox (type, project, workload_id, instance_id, host_id, data, trace_id)
     SELECT 'instance.removed', project, workload_id, id, host_id, jsonb_build_object('name', name),
       split_part(traceparent, '-', 2)
     FROM removed
   )
   SELECT e.instance_id AS "instanceId", r.workload_id AS "workloadId"
   FROM ended e LEFT JOIN removed r ON r.id = e.instance_id`,
);

// Runs after the instances are gone: a statement does not see what another part of itself deletes.
export const deleteWorkloads = statement<{ id: string }>(
  "control_fold_workloads",
  `WITH removed AS (
     DELETE FROM workload w
     WHERE w.deleting AND w.id = ANY($1::uuid[]) AND NOT EXISTS (SELECT FROM instance i WHERE i.workload_id = w.id)
     RETURNING w.id, w.project, w.name
   ), told AS (
     INSERT INTO event_inbox (type, project, workload_id, data)
     SELECT 'workload.deleted', project, id, jsonb_build_object('name', name) FROM removed
   )
   SELECT id FROM removed`,
);
