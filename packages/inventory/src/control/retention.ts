import { statement, type Sql } from "../database.ts";
import { assertLeading } from "./leadership.ts";

export interface Retention {
  /** events older than this go, in milliseconds */
  readonly eventAgeMs: number;
  /** and all but the newest of them */
  readonly eventRows: number;
  readonly idempotencyAgeMs: number;
  /** finished operations */
  readonly operationAgeMs: number;
  /** a tombstone stays in the document for this long after its instance is gone */
  readonly goneAgeMs: number;
}

const day = 24 * 60 * 60 * 1000;

/** Events 7 days and one million, answers 24 hours, finished operations 30 days, ended assignments 10 minutes. */
export const defaultRetention: Retention = {
  eventAgeMs: 7 * day,
  eventRows: 1_000_000,
  idempotencyAgeMs: day,
  operationAgeMs: 30 * day,
  goneAgeMs: 600_000,
};

/** Rows removed in one transaction at most, so that no lock is held for long. */
const batchRows = 10_000;

const deleteEvents = statement(
  "control_retain_events",
  `DELETE FROM event WHERE id IN (
     SELECT id FROM event
     WHERE id <= (SELECT max(id) FROM event) - $2::int8
       OR id <= (SELECT max(id) FROM (
         SELECT id FROM event WHERE at < now() - $1 * interval '1 ms' ORDER BY id LIMIT ${batchRows}) old)
     ORDER BY id LIMIT ${batchRows})`,
);

const deleteIdempotency = statement(
  "control_retain_idempotency",
  `DELETE FROM idempotency_key WHERE (token_id, key) IN (
     SELECT token_id, key FROM idempotency_key WHERE created_at < now() - $1 * interval '1 ms' LIMIT ${batchRows})`,
);

const deleteOperations = statement(
  "control_retain_operations",
  `DELETE FROM operation WHERE id IN (
     SELECT id FROM operation WHERE state <> 'running' AND finished_at < now() - $1 * interval '1 ms' LIMIT ${batchRows})`,
);

// A delta cannot say that a row left the document: agents behind this version get the whole one.
const compactDocuments = statement(
  "control_retain_assignments",
  `WITH old AS (
     SELECT instance_id, era, n, host_id, isolation FROM assignment
     WHERE tombstone AND gone_at < now() - $1 * interval '1 ms' ORDER BY gone_at LIMIT ${batchRows}
   ), agents AS (
     UPDATE host_agent a SET doc_version = a.doc_version + 1, compacted_version = a.doc_version + 1
     FROM (SELECT DISTINCT host_id, isolation FROM old) o
     WHERE a.host_id = o.host_id AND a.isolation = o.isolation
     RETURNING a.host_id, a.isolation, a.doc_version
   ), relayed AS (
     INSERT INTO outbox (host_id, isolation, version) SELECT host_id, isolation, doc_version FROM agents
   )
   DELETE FROM assignment s USING old o WHERE s.instance_id = o.instance_id AND s.era = o.era AND s.n = o.n`,
);

/** Rows removed by kind. */
export interface Removed {
  readonly events: number;
  readonly idempotencyKeys: number;
  readonly operations: number;
  readonly assignments: number;
}

/** Removes what is older than its keep, at most 10,000 rows of a kind at a time. */
export const removeOld = async (sql: Sql, term: number, keep: Retention = defaultRetention): Promise<Removed> => {
  const [, events, idempotencyKeys, operations, assignments] = await Promise.all([
    assertLeading(sql, term),
    sql.count(deleteEvents, [keep.eventAgeMs, keep.eventRows]),
    sql.count(deleteIdempotency, [keep.idempotencyAgeMs]),
    sql.count(deleteOperations, [keep.operationAgeMs]),
    sql.count(compactDocuments, [keep.goneAgeMs]),
  ]);
  return { events, idempotencyKeys, operations, assignments };
};
