import type { Isolation, WorkloadSpec } from "@bulkhead/contracts";
import type { Rejection } from "@bulkhead/placement";
import { statement, type Sql } from "../database.ts";
import { type PinnedShare, sharesColumn } from "../share-columns.ts";
import { assertLeading } from "./leadership.ts";

/** An instance that waits for a host. */
export interface PendingInstance {
  readonly id: string;
  readonly project: string;
  readonly workloadId: string;
  /** the workload's name */
  readonly workload: string;
  readonly name: string;
  readonly isolation: Isolation;
  readonly generation: number;
  readonly spec: WorkloadSpec;
  readonly imageDigest: string;
  readonly desired: "running" | "paused";
  readonly restartRequest: number;
  readonly era: number | null;
  readonly epochN: number | null;
  readonly traceparent: string | null;
  readonly version: number;
  /** what it is to see, and where that lies */
  readonly shares: readonly PinnedShare[];
  /** of a snapshot's copy: what its disk takes when it begins */
  readonly copyBytes: number;
  /** as they were last told */
  readonly rejections: readonly Rejection[];
}

/**
 * Specifications and places of shares of one batch, in bytes of text; its first instance may be larger. A commit sends a
 * batch as one parameter, which Node escapes in memory as one string.
 */
const batchBytes = 8 * 1024 * 1024;
/** What a share takes in a document besides its path, in bytes. */
const shareBytes = 300;

/** Instances that wait, and whether more do than were asked for or than one batch holds. */
export interface PendingBatch {
  readonly instances: readonly PendingInstance[];
  readonly more: boolean;
}

const selectPending = statement<PendingInstance & { readonly waiting: number }>(
  "control_pending",
  `SELECT i.id, i.project, i.workload_id AS "workloadId", w.name AS workload, i.name, i.isolation, i.generation, i.spec,
     i.image_digest AS "imageDigest", i.desired, i.restart_request AS "restartRequest", i.era, i.epoch_n AS "epochN",
     i.traceparent, i.version, i.rejections, i.waiting,
     CASE WHEN i.spec #>> '{vm,restoredFrom}' IS NULL THEN 0
       ELSE coalesce((SELECT s.copy_bytes FROM snapshot s
         WHERE s.id = (i.spec #>> '{vm,restoredFrom,snapshotId}')::uuid), 0) END::float8 AS "copyBytes",
     ${sharesColumn}
   FROM (
     SELECT p.*, row_number() OVER oldest AS nth, count(*) OVER ()::int AS waiting,
       sum(octet_length(p.spec::text) + coalesce((
         SELECT sum(octet_length(u.path) + ${shareBytes}) FROM share_use u WHERE u.instance_id = p.id), 0))
         OVER (oldest ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
     FROM (
       SELECT i.* FROM instance i
       WHERE i.state = 'pending' AND NOT i.removing AND i.desired <> 'stopped' AND NOT i.id = ANY($1::uuid[])
       ORDER BY i.id LIMIT $2::int + 1
     ) p
     WINDOW oldest AS (ORDER BY p.id)
   ) i JOIN workload w ON w.id = i.workload_id
   WHERE i.nth <= $2::int AND coalesce(i.before, 0) < ${batchBytes}
   ORDER BY i.id`,
);

/** The oldest instances that wait for a host, without those that are known to fit nowhere at present. */
export const readPending = async (sql: Sql, limit: number, except: readonly string[] = []): Promise<PendingBatch> => {
  const rows = await sql.rows(selectPending, [except, limit]);
  const [first] = rows;
  const more = first !== undefined && rows.length < first.waiting;
  return { instances: rows, more };
};

const writeRejections = statement(
  "control_rejections",
  `WITH refused AS (
     UPDATE instance i SET rejections = r.rejections, reason = 'NoCapacity', detail = r.detail, version = i.version + 1
     FROM unnest($1::uuid[], $2::jsonb[], $3::text[]) AS r(id, rejections, detail)
     WHERE i.id = r.id AND i.state = 'pending' 
       AND (i.rejections IS DISTINCT FROM r.rejections OR i.reason IS DISTINCT FROM 'NoCapacity')
     RETURNING i.id, i.project, i.workload_id, i.name, i.rejections, i.traceparent
   )
   INSERT INTO event_inbox (type, project, workload_id, instance_id, data, trace_id)
   SELECT 'instance.unplaceable', project, workload_id, id,
     jsonb_build_object('name', name, 'rejections', rejections), split_part(traceparent, '-', 2)
   FROM refused`,
);

export interface Refusal {
  readonly instanceId: string;
  readonly rejections: readonly Rejection[];
}

/** Says on each instance, and once as an event, why no host can take it. The same reasons again write nothing. */
export const recordRejections = async (sql: Sql, term: number, refusals: readonly Refusal[]): Promise<number> => {
  const [, changed] = await Promise.all([
    assertLeading(sql, term),
    sql.count(writeRejections, [
      refusals.map((refusal) => refusal.instanceId),
      refusals.map((refusal) => JSON.stringify(refusal.rejections)),
      refusals.map((refusal) => (refusal.rejections.length === 0 ? "the fleet has no host" : "no host can take it")),
    ]),
  ]);
  return changed;
};
