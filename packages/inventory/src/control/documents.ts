import {
  type Assignment,
  type DesiredDocument,
  type DocumentPlace,
  type DocumentPosition,
  type FetchDesired,
} from "@bulkhead/contracts";
import { statement, type Sql } from "../database.ts";
import { remember, tombstoneOf, type DocumentMemory, type Entry } from "./document-memory.ts";

export interface AgentName {
  readonly hostId: string;
  readonly isolation: string;
}

/** A row of an answer: an assignment, or the order to end one. */
interface PageRow extends Pick<Entry, "instanceId" | "era" | "n" | "graceMs"> {
  readonly docVersion: number;
  /** null for tombstones */
  readonly document: Assignment | null;
}

interface DocumentRow {
  readonly clusterId: string;
  readonly era: number;
  readonly version: number;
  readonly compacted: number;
  /** what we remembered is of this document, and only what changed since is in `changes` */
  readonly remembered: boolean;
  readonly changes: readonly Entry[];
  readonly page: readonly PageRow[];
  /** rows come after those of the page */
  readonly more: boolean;
}

/** Most that one answer holds; one assignment alone may be larger. */
interface AnswerLimit {
  /** of the assignments as Postgres writes them, which is more than what is sent */
  readonly bytes: number;
  readonly rows: number;
}

/** Half of NATS's default payload limit of 1 MiB; the rows bound what is measured to find that. */
const pageLimit: AnswerLimit = { bytes: 512 * 1024, rows: 256 };
/** An agent of the version before asks for everything at once: what fits into the 8 MiB of our own NATS. */
const wholeLimit: AnswerLimit = { bytes: 7 * 1024 * 1024, rows: 100_000 };

/** A tombstone, or what an assignment has besides its document, in bytes. */
const rowBytes = 150;

// One snapshot for all: the version belongs to exactly these rows. $3 to $5 are the position that the agent has, $6 and $7
// the one we remember; a version of another era, of the future or from before a compaction counts as none. $8 to $11 are
// the row after which the page begins. Rows are told in the order in which they changed, so that what changes while pages
// are read comes once more at their end.
const selectDocument = statement<DocumentRow>(
  "control_document",
  `SELECT c.id AS "clusterId", c.era, a.doc_version AS version, a.compacted_version AS compacted,
     known.version > 0 AS remembered, coalesce(changes.rows, '[]') AS changes,
     coalesce(page.rows, '[]') AS page, coalesce(page.count < page.candidates, false) AS more
   FROM cluster c, host_agent a,
     LATERAL (SELECT CASE WHEN $3::uuid = c.id AND $4::int = c.era AND $5::int8 BETWEEN a.compacted_version AND a.doc_version
       THEN $5::int8 ELSE 0 END AS version) had,
     LATERAL (SELECT CASE WHEN $7::int = c.era AND $6::int8 BETWEEN a.compacted_version AND a.doc_version
       THEN $6::int8 ELSE 0 END AS version) known,
     LATERAL (
       SELECT json_agg(json_build_object(
         'instanceId', s.instance_id, 'era', s.era, 'n', s.n, 'tombstone', s.tombstone, 'graceMs', s.grace_ms,
         'generation', s.document -> 'generation', 'desired', s.document -> 'desired',
         'restartRequest', s.document -> 'restartRequest')) AS rows
       FROM assignment s
       WHERE s.host_id = a.host_id AND s.isolation = a.isolation AND s.doc_version > known.version
     ) changes,
     LATERAL (
       SELECT json_agg(json_build_object(
           'instanceId', p.instance_id, 'era', p.era, 'n', p.n, 'graceMs', p.grace_ms, 'docVersion', p.doc_version,
           'document', p.document) ORDER BY p.nth) AS rows,
         count(*) AS count, min(p.candidates) AS candidates
       FROM (
         SELECT w.*, row_number() OVER following AS nth, count(*) OVER () AS candidates,
           sum(coalesce(octet_length(w.document::text), 0) + ${rowBytes})
             OVER (following ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
         FROM (
           SELECT s.instance_id, s.era, s.n, s.grace_ms, s.doc_version, CASE WHEN NOT s.tombstone THEN s.document END AS document
           FROM assignment s
           WHERE s.host_id = a.host_id AND s.isolation = a.isolation
             AND s.doc_version >= coalesce($8::int8, had.version + 1)
             AND ($8::int8 IS NULL OR (s.doc_version, s.instance_id, s.era, s.n) > ($8::int8, $9::uuid, $10::int, $11::int))
           ORDER BY s.doc_version, s.instance_id, s.era, s.n LIMIT $13::int + 1
         ) w
         WINDOW following AS (ORDER BY w.doc_version, w.instance_id, w.era, w.n)
       ) p
       WHERE coalesce(p.before, 0) < $12::int8 AND p.nth <= $13::int
     ) page
   WHERE a.host_id = $1 AND a.isolation = $2`,
);

/** A document, or a page of it, as it is now; `ahead` when the agent holds a position this database has never given. */
export type Fetched =
  | { readonly kind: "document"; readonly document: DesiredDocument; readonly memory: DocumentMemory }
  | { readonly kind: "ahead"; readonly era: number; readonly version: number }
  /** rows left the document since its first page was read: what was read of it is not to be completed */
  | { readonly kind: "moved" }
  | { readonly kind: "unknown-host" };

/**
 * The desired state of one agent: what changed after the position it has, or all of it when that position is of another
 * cluster or era, or older than what was compacted away; with `after` a page of that. With the memory of an earlier answer
 * only news is read.
 */
export const fetchDocument = async (
  sql: Sql,
  agent: AgentName,
  { have, after, memory }: FetchDesired & { readonly memory?: DocumentMemory | undefined },
): Promise<Fetched> => {
  const limit = after === undefined ? wholeLimit : pageLimit;
  const [row] = await sql.rows(selectDocument, [
    agent.hostId,
    agent.isolation,
    have?.clusterId ?? null,
    have?.era ?? null,
    have?.version ?? null,
    memory?.version ?? null,
    memory?.era ?? null,
    after?.version ?? null,
    after?.instanceId ?? null,
    after?.epoch.era ?? null,
    after?.epoch.n ?? null,
    limit.bytes,
    limit.rows,
  ]);
  if (row === undefined) return { kind: "unknown-host" };
  const { clusterId, era, version, compacted, page } = row;
  const ours = have !== null && have.clusterId === clusterId;
  if (ours && (have.era > era || (have.era === era && have.version > version))) return { kind: "ahead", era, version };
  if (after != null && (after.era !== era || after.compacted !== compacted)) return { kind: "moved" };
  const next = remember(row, row.remembered ? memory : undefined);
  const last = page.at(-1);
  const document: DesiredDocument = {
    position: { clusterId, era, version } as DocumentPosition,
    since: ours && have.era === era && have.version >= compacted ? have.version : 0,
    digest: next.digest,
    assignments: page.flatMap((entry) => entry.document ?? []),
    tombstones: page.filter((entry) => entry.document === null).map(tombstoneOf),
    ...(row.more && last !== undefined ? { next: placeOf(last, { era, compacted }) } : {}),
  };
  return { kind: "document", document, memory: next };
};

const placeOf = (row: PageRow, { era, compacted }: { era: number; compacted: number }): DocumentPlace =>
  ({
    era,
    compacted,
    version: row.docVersion,
    instanceId: row.instanceId,
    epoch: { era: row.era, n: row.n },
  }) as DocumentPlace;

export interface DocumentHead extends AgentName {
  readonly clusterId: string;
  readonly era: number;
  readonly version: number;
}

const selectHeads = statement<DocumentHead>(
  "control_document_heads",
  `SELECT a.host_id AS "hostId", a.isolation, c.id AS "clusterId", c.era, a.doc_version AS version
   FROM cluster c, host_agent a JOIN unnest($1::uuid[], $2::text[]) AS w(host_id, isolation)
     ON w.host_id = a.host_id AND w.isolation = a.isolation`,
);

/** Present versions of agents' documents; agents that never joined are missing. */
export const readHeads = (sql: Sql, agents: readonly AgentName[]): Promise<DocumentHead[]> =>
  sql.rows(selectHeads, [agents.map((agent) => agent.hostId), agents.map((agent) => agent.isolation)]);
