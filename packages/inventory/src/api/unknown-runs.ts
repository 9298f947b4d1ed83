import { type Epoch, fleetError } from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { type Change, audit } from "./change.ts";
import { isUuid } from "./page.ts";

/** A run that a host reported and this control plane does not know. */
export interface UnknownEnd {
  /** id or name */
  readonly host: string;
  readonly instanceId: string;
  /** time to end by itself before it is killed, in milliseconds */
  readonly graceMs: number;
}

interface FoundRow {
  readonly hostId: string;
  readonly hostName: string;
  readonly isolation: string;
  readonly foreignClusterId: string | null;
  readonly name: string;
  readonly epoch: Epoch;
}

// Host and agent are locked in the order in which adoption and placement lock them.
const lockHost = statement<{ id: string; name: string }>(
  "api_unknown_host",
  `SELECT id, name FROM host WHERE id = $1::uuid OR name = $2 FOR UPDATE`,
);
const findRun = statement<FoundRow>(
  "api_unknown_run",
  `SELECT a.isolation, a.foreign_cluster_id AS "foreignClusterId", u.run ->> 'name' AS name, u.run -> 'epoch' AS epoch
   FROM host_agent a, jsonb_array_elements(a.unknown_instances) AS u(run)
   WHERE a.host_id = $1 AND u.run ->> 'instanceId' = $2 FOR UPDATE OF a`,
);
const isKnown = statement("api_unknown_known", `SELECT FROM instance WHERE id = $1::uuid`);
// Holds nothing of the host: what is not known was not counted. The document is only read of rows without a tombstone.
const bury = statement(
  "api_unknown_bury",
  `WITH agent AS (
     UPDATE host_agent SET doc_version = doc_version + 1 WHERE host_id = $4 AND isolation = $5
     RETURNING host_id, isolation, doc_version
   ), relayed AS (
     INSERT INTO outbox (host_id, isolation, version) SELECT host_id, isolation, doc_version FROM agent
   )
   INSERT INTO assignment
     (instance_id, era, n, host_id, isolation, document, doc_version, tombstone, grace_ms, cpu_millis, memory_bytes)
   SELECT $1, $2, $3, host_id, isolation, '{}', doc_version, true, $6, 0, 0 FROM agent
   ON CONFLICT (instance_id, era, n) DO UPDATE
     SET tombstone = true, grace_ms = excluded.grace_ms, doc_version = excluded.doc_version, gone_at = NULL`,
);

/**
 * Orders a host to end a run that this control plane does not know: a tombstone for exactly the epoch that the host
 * reported. Rejects NOT_FOUND, and STATE_CONFLICT when the host obeys another control plane or the instance is ours.
 */
export const endUnknownRun = async (sql: Sql, change: Pick<Change, "tokenId">, wanted: UnknownEnd): Promise<void> => {
  const byId = isUuid(wanted.host);
  const [host] = await sql.rows(lockHost, byId ? [wanted.host, null] : [null, wanted.host]);
  if (host === undefined) throw fleetError("NOT_FOUND", `There is no host ${wanted.host}.`);
  const [run] = await sql.rows(findRun, [host.id, wanted.instanceId]);
  if (run === undefined) {
    throw fleetError("NOT_FOUND", `Host ${host.name} reports no unknown instance ${wanted.instanceId}.`);
  }
  if (run.foreignClusterId !== null) {
    const detail = `Host ${host.name} obeys another control plane (${run.foreignClusterId}); end ${run.name} there.`;
    throw fleetError("STATE_CONFLICT", detail);
  }
  if ((await sql.rows(isKnown, [wanted.instanceId])).length > 0) {
    throw fleetError("STATE_CONFLICT", `${run.name} is known by now; stop or remove it as any other instance.`);
  }
  const { era, n } = run.epoch;
  await sql.count(bury, [wanted.instanceId, era, n, host.id, run.isolation, wanted.graceMs]);
  const data = { host: host.name, name: run.name, epoch: run.epoch, graceMs: wanted.graceMs };
  await audit(sql, { ...change, project: null }, { verb: "host.end-unknown", target: wanted.instanceId, data });
};
