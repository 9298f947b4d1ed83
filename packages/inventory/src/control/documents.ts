import {
  documentDigest,
  type Assignment,
  type DesiredDocument,
  type DocumentPosition,
  type Tombstone,
} from "@bulkhead/contracts";
import { statement, type Sql } from "../database.ts";

export interface AgentName {
  readonly hostId: string;
  readonly isolation: string;
}

interface HeadRow {
  readonly clusterId: string;
  readonly era: number;
  readonly version: number;
  readonly compacted: number;
}

interface EntryRow {
  readonly instanceId: string;
  readonly era: number;
  readonly n: number;
  readonly tombstone: boolean;
  readonly graceMs: number;
  readonly generation: number;
  readonly desired: string;
  readonly restartRequest: number;
  readonly docVersion: number;
  /** null unless it changed after the version asked for */
  readonly document: Assignment | null;
}

// One snapshot for both: the version belongs to exactly these rows.
const selectDocument = statement<HeadRow & { entries: EntryRow[] }>(
  "control_document",
  `SELECT c.id AS "clusterId", c.era, a.doc_version AS version, a.compacted_version AS compacted,
     coalesce((
       SELECT jsonb_agg(jsonb_build_object(
         'instanceId', s.instance_id, 'era', s.era, 'n', s.n, 'tombstone', s.tombstone, 'graceMs', s.grace_ms,
         'generation', s.document -> 'generation', 'desired', s.document -> 'desired',
         'restartRequest', s.document -> 'restartRequest', 'docVersion', s.doc_version,
         'document', CASE WHEN NOT s.tombstone AND (s.doc_version > since.version) THEN s.document END))
       FROM assignment s WHERE s.host_id = a.host_id AND s.isolation = a.isolation
     ), '[]') AS entries
   FROM cluster c, host_agent a, LATERAL (
     SELECT CASE WHEN $3::uuid = c.id AND $4::int = c.era AND $5::int8 BETWEEN a.compacted_version AND a.doc_version
       THEN $5::int8 ELSE 0 END AS version
   ) since
   WHERE a.host_id = $1 AND a.isolation = $2`,
);

const identityOf = (row: EntryRow): Assignment =>
  ({
    instanceId: row.instanceId,
    epoch: { era: row.era, n: row.n },
    generation: row.generation,
    desired: row.desired,
    restartRequest: row.restartRequest,
  }) as Assignment;

const tombstoneOf = (row: EntryRow): Tombstone =>
  ({ instanceId: row.instanceId, epoch: { era: row.era, n: row.n }, graceMs: row.graceMs }) as Tombstone;

/** A document as it is now; `ahead` when the agent holds a position this database has never given. */
export type Fetched =
  | { readonly kind: "document"; readonly document: DesiredDocument }
  | { readonly kind: "ahead"; readonly era: number; readonly version: number }
  | { readonly kind: "unknown-host" };

/**
 * The desired state of one agent: what changed after the position it has, or all of it when that position is of another
 * cluster or era, or older than what was compacted away.
 */
export const fetchDocument = async (sql: Sql, agent: AgentName, have: DocumentPosition | null): Promise<Fetched> => {
  const [head] = await sql.rows(selectDocument, [
    agent.hostId,
    agent.isolation,
    have?.clusterId ?? null,
    have?.era ?? null,
    have?.version ?? null,
  ]);
  if (head === undefined) return { kind: "unknown-host" };
  const { clusterId, era, version, entries } = head;
  const ours = have !== null && have.clusterId === clusterId;
  if (ours && (have.era > era || (have.era === era && have.version > version))) return { kind: "ahead", era, version };
  const delta = ours && have.era === era && have.version >= head.compacted;
  const since = delta ? have.version : 0;
  const [live, buried] = [entries.filter((row) => !row.tombstone), entries.filter((row) => row.tombstone)];
  const changed = (row: EntryRow): boolean => row.docVersion > since;
  return {
    kind: "document",
    document: {
      position: { clusterId, era, version } as DocumentPosition,
      since,
      digest: documentDigest(live.map(identityOf), buried.map(tombstoneOf)),
      assignments: live.flatMap((row) => row.document ?? []),
      tombstones: buried.filter(changed).map(tombstoneOf),
    },
  };
};

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
