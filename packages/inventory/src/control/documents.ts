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

interface DocumentRow {
  readonly clusterId: string;
  readonly era: number;
  readonly version: number;
  readonly compacted: number;
  /** rows changed after this version are in `entries` */
  readonly after: number;
  readonly entries: readonly EntryRow[];
}

/** What of a row decides the digest, and since when it is so. */
interface Entry {
  readonly instanceId: string;
  readonly era: number;
  readonly n: number;
  readonly tombstone: boolean;
  readonly graceMs: number;
  readonly generation: number;
  readonly desired: string;
  readonly restartRequest: number;
  readonly docVersion: number;
}

interface EntryRow extends Entry {
  /** null for tombstones, and when it was not asked for */
  readonly document: Assignment | null;
}

/** A document as it was last read, without its specifications: enough to know its digest after the next change. */
export interface DocumentMemory {
  readonly era: number;
  readonly version: number;
  readonly digest: string;
  readonly entries: ReadonlyMap<string, Entry>;
}

// One snapshot for both: the version belongs to exactly these rows. $5 is the version the agent has, $6 the one we
// remember; a version of another era, of the future or from before a compaction counts as none.
const selectDocument = statement<DocumentRow>(
  "control_document",
  `SELECT c.id AS "clusterId", c.era, a.doc_version AS version, a.compacted_version AS compacted,
     least(had.version, known.version) AS after,
     coalesce((
       SELECT jsonb_agg(jsonb_build_object(
         'instanceId', s.instance_id, 'era', s.era, 'n', s.n, 'tombstone', s.tombstone, 'graceMs', s.grace_ms,
         'generation', s.document -> 'generation', 'desired', s.document -> 'desired',
         'restartRequest', s.document -> 'restartRequest', 'docVersion', s.doc_version,
         'document', CASE WHEN NOT s.tombstone AND s.doc_version > had.version THEN s.document END))
       FROM assignment s
       WHERE s.host_id = a.host_id AND s.isolation = a.isolation AND s.doc_version > least(had.version, known.version)
     ), '[]') AS entries
   FROM cluster c, host_agent a,
     LATERAL (SELECT CASE WHEN $3::uuid = c.id AND $4::int = c.era AND $5::int8 BETWEEN a.compacted_version AND a.doc_version
       THEN $5::int8 ELSE 0 END AS version) had,
     LATERAL (SELECT CASE WHEN $7::int = c.era AND $6::int8 BETWEEN a.compacted_version AND a.doc_version
       THEN $6::int8 ELSE 0 END AS version) known
   WHERE a.host_id = $1 AND a.isolation = $2`,
);

const keyOf = ({ instanceId, era, n }: Entry): string => `${instanceId} ${era}.${n}`;

const identityOf = (entry: Entry): Assignment =>
  ({
    instanceId: entry.instanceId,
    epoch: { era: entry.era, n: entry.n },
    generation: entry.generation,
    desired: entry.desired,
    restartRequest: entry.restartRequest,
  }) as Assignment;

const tombstoneOf = ({ instanceId, era, n, graceMs }: Entry): Tombstone =>
  ({ instanceId, epoch: { era, n }, graceMs }) as Tombstone;

const remember = (row: DocumentRow, memory: DocumentMemory | undefined): DocumentMemory => {
  const entries = new Map<string, Entry>(row.after === 0 ? [] : memory?.entries);
  for (const { document: _, ...entry } of row.entries) entries.set(keyOf(entry), entry);
  const all = [...entries.values()];
  const live = all.filter((entry) => !entry.tombstone).map(identityOf);
  const buried = all.filter((entry) => entry.tombstone).map(tombstoneOf);
  return { era: row.era, version: row.version, digest: documentDigest(live, buried), entries };
};

/** A document as it is now; `ahead` when the agent holds a position this database has never given. */
export type Fetched =
  | { readonly kind: "document"; readonly document: DesiredDocument; readonly memory: DocumentMemory }
  | { readonly kind: "ahead"; readonly era: number; readonly version: number }
  | { readonly kind: "unknown-host" };

/**
 * The desired state of one agent: what changed after the position it has, or all of it when that position is of another
 * cluster or era, or older than what was compacted away. With the memory of an earlier answer only news is read.
 */
export const fetchDocument = async (
  sql: Sql,
  agent: AgentName,
  { have, memory }: { readonly have: DocumentPosition | null; readonly memory?: DocumentMemory | undefined },
): Promise<Fetched> => {
  const [row] = await sql.rows(selectDocument, [
    agent.hostId,
    agent.isolation,
    have?.clusterId ?? null,
    have?.era ?? null,
    have?.version ?? null,
    memory?.version ?? null,
    memory?.era ?? null,
  ]);
  if (row === undefined) return { kind: "unknown-host" };
  const { clusterId, era, version } = row;
  const ours = have !== null && have.clusterId === clusterId;
  if (ours && (have.era > era || (have.era === era && have.version > version))) return { kind: "ahead", era, version };
  const since = ours && have.era === era && have.version >= row.compacted ? have.version : 0;
  const next = remember(row, memory);
  const document: DesiredDocument = {
    position: { clusterId, era, version } as DocumentPosition,
    since,
    digest: next.digest,
    assignments: row.entries.flatMap((entry) => entry.document ?? []),
    tombstones: row.entries.filter((entry) => entry.tombstone && entry.docVersion > since).map(tombstoneOf),
  };
  return { kind: "document", document, memory: next };
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
