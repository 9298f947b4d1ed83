import { toProblem, type FleetError, type Problem } from "@bulkhead/contracts";
import { statement, type Database } from "../database.ts";
import { moveEvents } from "./events.ts";
import { assertLeading } from "./leadership.ts";
import { outcomeOf, type OperationView } from "./operation-outcome.ts";

// What an operation waits for, counted over its target's instances; `reached` is its kind's own condition for one.
const selectViews = statement<OperationView>(
  "control_operations",
  `SELECT o.id, o.kind, o.project, o.target_type AS "targetType", o.target_id AS "targetId", o.progress,
     o.trace_id AS "traceId",
     w.id IS NOT NULL AS "workloadExists", coalesce(w.deleting, false) AS "workloadDeleting",
     i.total, i.reached, i.refused, i.failure
   FROM operation o
   LEFT JOIN workload w ON o.target_type = 'workload' AND w.id::text = o.target_id
   CROSS JOIN LATERAL (
     SELECT count(*)::int AS total,
       count(*) FILTER (WHERE CASE o.kind
         WHEN 'workload.create' THEN x.started_at IS NOT NULL OR x.desired = 'stopped'
         WHEN 'workload.update' THEN NOT x.removing AND (x.state IN ('stopped', 'failed') OR x.desired = 'stopped'
           OR (x.started_at IS NOT NULL AND x.seen_generation >= x.generation))
         WHEN 'workload.delete' THEN false
         WHEN 'instance.stop' THEN x.state IN ('stopped', 'failed', 'pending')
         WHEN 'instance.restart' THEN x.state = 'running'
           AND (x.attempt > coalesce((o.expect ->> 'attempt')::int, -1) OR x.started_at > o.created_at)
         WHEN 'instance.pause' THEN x.state = 'paused'
         WHEN 'instance.resume' THEN x.state = 'running'
         WHEN 'instance.kill' THEN x.attempt > coalesce((o.expect ->> 'attempt')::int, -1)
           OR x.state NOT IN ('starting', 'running', 'paused', 'stopping')
       END)::int AS reached,
       count(*) FILTER (WHERE x.state = 'pending' AND x.reason = 'NoCapacity')::int AS refused,
       (array_agg(jsonb_build_object('name', x.name, 'reason', x.reason, 'detail', x.detail, 'resize', x.resize)
         ORDER BY x.slot) FILTER (WHERE CASE o.kind
         WHEN 'workload.create' THEN x.state = 'failed' AND x.started_at IS NULL
         WHEN 'workload.update' THEN (x.state = 'failed' AND x.started_at IS NULL AND x.generation = (o.expect ->> 'generation')::int)
           OR (x.resize ->> 'outcome' = 'infeasible' AND (x.resize ->> 'generation')::int >= (o.expect ->> 'generation')::int)
         WHEN 'instance.restart' THEN x.state = 'failed' AND x.attempt > coalesce((o.expect ->> 'attempt')::int, -1)
         WHEN 'instance.pause' THEN x.state IN ('stopped', 'failed', 'lost')
         WHEN 'instance.resume' THEN x.state IN ('stopped', 'failed', 'lost')
       END))[1] AS failure
     FROM instance x
     WHERE (o.target_type = 'workload' AND x.workload_id = w.id) OR (o.target_type = 'instance' AND x.id::text = o.target_id)
   ) i
   WHERE o.state = 'running' AND o.kind NOT IN ('image.import', 'image.pull', 'snapshot.create', 'snapshot.verify') AND ($1::text[] IS NULL OR o.target_id = ANY($1))
     AND o.id > $2
   ORDER BY o.id LIMIT $3`,
);

const writeOutcomes = statement<{ id: string }>(
  "control_operations_write",
  `WITH written AS (
     UPDATE operation o
     SET state = w.state, progress = w.progress, error = w.error,
         finished_at = CASE WHEN w.state = 'running' THEN NULL ELSE now() END
     FROM unnest($1::uuid[], $2::text[], $3::text[], $4::jsonb[]) AS w(id, state, progress, error)
     WHERE o.id = w.id AND o.state = 'running'
     RETURNING o.id, o.project, o.kind, o.state, o.error, o.target_type, o.target_id, o.trace_id
   ), told AS (
     INSERT INTO event_inbox (type, project, workload_id, instance_id, data, trace_id)
     SELECT 'operation.finished', project,
       CASE WHEN target_type = 'workload' THEN target_id::uuid END,
       CASE WHEN target_type = 'instance' THEN target_id::uuid END,
       jsonb_build_object('operationId', id, 'kind', kind, 'state', state, 'error', error), trace_id
     FROM written WHERE state <> 'running'
   )
   SELECT id FROM written`,
);

const problemOf = (view: OperationView, error: FleetError): Problem =>
  toProblem(error, view.traceId === null ? {} : { traceId: view.traceId });

/** Operations looked at in one transaction at most. */
const batchSize = 1_000;
/** Before every operation's. */
const leastId = "00000000-0000-0000-0000-000000000000";

export interface SettleOptions {
  readonly term: number;
  /** ids of workloads and instances that changed; all running operations without it */
  readonly targets?: readonly string[];
}

const settleBatch = async (database: Database, term: number, views: readonly OperationView[]): Promise<number> => {
  const decided = views.flatMap((view) => {
    const outcome = outcomeOf(view);
    return outcome.state === "running" && outcome.progress === view.progress ? [] : [{ view, outcome }];
  });
  if (decided.length === 0) return 0;
  return database.transaction(async (sql) => {
    const [, written] = await Promise.all([
      assertLeading(sql, term),
      sql.rows(writeOutcomes, [
        decided.map(({ view }) => view.id),
        decided.map(({ outcome }) => outcome.state),
        decided.map(({ outcome }) => outcome.progress),
        decided.map(({ view, outcome }) =>
          outcome.state === "failed" ? JSON.stringify(problemOf(view, outcome.error)) : null,
        ),
      ]),
      // In the same transaction: who hears that it is finished finds it finished, and the other way round.
      moveEvents(sql),
    ]);
    return written.length;
  });
};

/**
 * Finishes the operations whose targets have reached what they wait for, or cannot any more, and says on the others what
 * they wait for, and publishes waiting events. Resolves to the number written. Imports, pulls and snapshots are left to those who do them.
 */
export const settleOperations = async (database: Database, { term, targets }: SettleOptions): Promise<number> => {
  let written = 0;
  for (let after: string | undefined = leastId; after !== undefined;) {
    // Read outside the transaction: an operation that was done at any moment is done, and mostly there is nothing to write.
    const views: OperationView[] = await database.rows(selectViews, [targets ?? null, after, batchSize]);
    written += await settleBatch(database, term, views);
    after = views.length < batchSize ? undefined : views.at(-1)?.id;
  }
  return written;
};
