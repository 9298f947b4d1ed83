import { type Sql, statement } from "./database.ts";

/** Members to replace in the assignments' documents of some instances, the same ones for all. */
export interface DocumentPatch {
  readonly instanceIds: readonly string[];
  readonly patch: object;
  /** what each holds of its host from now on; unchanged when absent */
  readonly held?: { readonly cpuMillis: number; readonly memoryBytes: number };
}

const patchDocuments = statement<{ instanceId: string }>(
  "api_documents_patch",
  `WITH held AS (
     SELECT s.instance_id, s.era, s.n, s.host_id, s.isolation
     FROM assignment s WHERE s.instance_id = ANY($1::uuid[]) AND NOT s.tombstone
   ), agents AS (
     UPDATE host_agent a SET doc_version = a.doc_version + 1
     FROM (SELECT DISTINCT host_id, isolation FROM held) h
     WHERE a.host_id = h.host_id AND a.isolation = h.isolation
     RETURNING a.host_id, a.isolation, a.doc_version
   ), relayed AS (
     INSERT INTO outbox (host_id, isolation, version) SELECT host_id, isolation, doc_version FROM agents
   )
   UPDATE assignment s
   SET document = s.document || $2::jsonb,
       doc_version = g.doc_version,
       cpu_millis = coalesce($3::int, s.cpu_millis),
       memory_bytes = coalesce($4::bigint, s.memory_bytes)
   FROM held h JOIN agents g ON g.host_id = h.host_id AND g.isolation = h.isolation
   WHERE s.instance_id = h.instance_id AND s.era = h.era AND s.n = h.n
   RETURNING s.instance_id AS "instanceId"`,
);

/**
 * Changes the documents of instances that are assigned and tells their agents: one new document version per agent.
 * Resolves to the ids of those instances; the others have no assignment in force. Lock the instances' rows first.
 */
export const changeDocuments = async (sql: Sql, { instanceIds, patch, held }: DocumentPatch): Promise<Set<string>> => {
  if (instanceIds.length === 0) return new Set();
  // Once for all of them: a specification for each of 10,000 would be more than one parameter can be.
  const rows = await sql.rows(patchDocuments, [
    instanceIds,
    JSON.stringify(patch),
    held?.cpuMillis ?? null,
    held?.memoryBytes ?? null,
  ]);
  return new Set(rows.map((row) => row.instanceId));
};

const buryAssignments = statement<{ instanceId: string }>(
  "api_documents_bury",
  `WITH held AS (
     SELECT s.instance_id, s.era, s.n, s.host_id, s.isolation FROM assignment s
     WHERE s.instance_id = ANY($1::uuid[]) AND NOT s.tombstone
   ), agents AS (
     UPDATE host_agent a SET doc_version = a.doc_version + 1
     FROM (SELECT DISTINCT host_id, isolation FROM held) h
     WHERE a.host_id = h.host_id AND a.isolation = h.isolation
     RETURNING a.host_id, a.isolation, a.doc_version
   ), relayed AS (
     INSERT INTO outbox (host_id, isolation, version) SELECT host_id, isolation, doc_version FROM agents
   )
   UPDATE assignment s SET tombstone = true, grace_ms = coalesce($2, s.grace_ms), doc_version = g.doc_version
   FROM held h JOIN agents g ON g.host_id = h.host_id AND g.isolation = h.isolation
   WHERE s.instance_id = h.instance_id AND s.era = h.era AND s.n = h.n
   RETURNING s.instance_id AS "instanceId"`,
);

/**
 * Puts tombstones on the assignments in force of these instances, and tells their agents; `graceMs` null keeps what each
 * has. Resolves to the ids that had one.
 */
export const buryDocuments = async (
  sql: Sql,
  instanceIds: readonly string[],
  graceMs: number | null,
): Promise<Set<string>> => {
  if (instanceIds.length === 0) return new Set();
  const rows = await sql.rows(buryAssignments, [instanceIds, graceMs]);
  return new Set(rows.map((row) => row.instanceId));
};
