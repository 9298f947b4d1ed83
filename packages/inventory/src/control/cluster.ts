import { randomBytes } from "node:crypto";
import { uuidV7 } from "@bulkhead/contracts";
import { statement, type Sql } from "../database.ts";
import { assertLeading } from "./leadership.ts";

/** Who this control plane is. Agents obey one cluster id, and refuse documents of an era lower than one they saw. */
export interface ClusterIdentity {
  readonly clusterId: string;
  readonly era: number;
}

const ensureCluster = statement(
  "control_cluster_ensure",
  `INSERT INTO cluster (id) VALUES ($1) ON CONFLICT (singleton) DO NOTHING`,
);

const selectCluster = statement<ClusterIdentity>("control_cluster", `SELECT id AS "clusterId", era FROM cluster`);

/** The cluster's identity; an empty database gets a new one here, whoever asks first. */
export const readCluster = async (sql: Sql): Promise<ClusterIdentity> => {
  const [known] = await sql.rows(selectCluster);
  if (known !== undefined) return known;
  await sql.count(ensureCluster, [uuidV7(Date.now(), randomBytes(10))]);
  const [made] = await sql.rows(selectCluster);
  if (made === undefined) throw new Error("the cluster row is gone");
  return made;
};

const raiseEra = statement<{ era: number }>(
  "control_era_raise",
  `UPDATE cluster SET era = greatest(era, $1) + 1 WHERE era <= $1 RETURNING era`,
);

// Every agent must fetch the new era's document, whole.
const renewDocuments = statement(
  "control_era_documents",
  `WITH agents AS (
     UPDATE host_agent SET doc_version = doc_version + 1 RETURNING host_id, isolation, doc_version
   )
   INSERT INTO outbox (host_id, isolation, version) SELECT host_id, isolation, doc_version FROM agents`,
);

const tellEra = statement(
  "control_era_event",
  `INSERT INTO event_inbox (type, host_id, data)
   VALUES ('cluster.era', $1, jsonb_build_object('era', $2::int, 'reason', $3::text))`,
);

export interface EraRequest {
  readonly term: number;
  /** highest era that an agent has seen */
  readonly seenEra: number;
  /** the agent's host that knows more than this database */
  readonly hostId: string;
  readonly reason: string;
}

/**
 * Starts a new era above `seenEra`, because an agent knows more than the database: it was restored. Resolves to the era
 * in force; when it is above `seenEra` already, nothing changes. Rejects when this scheduler no longer leads.
 */
export const startEra = async (sql: Sql, { term, seenEra, hostId, reason }: EraRequest): Promise<number> => {
  await assertLeading(sql, term);
  const [raised] = await sql.rows(raiseEra, [seenEra]);
  if (raised === undefined) return (await readCluster(sql)).era;
  await Promise.all([sql.count(renewDocuments), sql.count(tellEra, [hostId, raised.era, reason])]);
  return raised.era;
};

const raiseVersion = statement(
  "control_version_raise",
  `WITH raised AS (
     UPDATE host_agent SET doc_version = greatest(doc_version, $3) + 1, compacted_version = greatest(doc_version, $3) + 1
     WHERE host_id = $1 AND isolation = $2 AND doc_version <= $3
     RETURNING host_id, isolation, doc_version
   )
   INSERT INTO outbox (host_id, isolation, version) SELECT host_id, isolation, doc_version FROM raised`,
);

export interface AgentVersion {
  readonly hostId: string;
  readonly isolation: string;
  readonly version: number;
}

/** Lifts a document's version above one that its agent reached under an earlier era; nothing to do when it is. */
export const liftVersion = async (sql: Sql, term: number, reached: AgentVersion): Promise<void> => {
  await Promise.all([
    assertLeading(sql, term),
    sql.count(raiseVersion, [reached.hostId, reached.isolation, reached.version]),
  ]);
};
