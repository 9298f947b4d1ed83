import { statement, type Database } from "../database.ts";
import type { AgentName } from "./documents.ts";
import { assertLeading } from "./leadership.ts";

/** Condition on `instance i`; `leaseMs` of a specification without one is the schema's default, 300 s. */
const replaceable = (quietMs: string, driftMs: string): string =>
  `NOT i.removing AND i.desired <> 'stopped' AND i.state NOT IN ('pending', 'stopped', 'failed')
     AND i.spec ->> 'onLoss' = 'replace' AND coalesce((i.spec ->> 'leaseMs')::int8, 300000) + ${driftMs} <= ${quietMs}`;

// Rows are locked in one order everywhere: the instances before the agent.
const lockInstances = statement(
  "control_replace_instances",
  `SELECT FROM instance i WHERE i.host_id = $1 AND i.isolation = $2 AND ${replaceable("$3::float8", "$4::int8")}
   ORDER BY i.id FOR UPDATE`,
);
const lockAgent = statement(
  "control_replace_agent",
  `SELECT FROM host_agent WHERE host_id = $1 AND isolation = $2 FOR UPDATE`,
);

const replaceStatement = statement<{ id: string }>(
  "control_replace",
  `WITH lost AS MATERIALIZED (
     SELECT i.id, i.era, i.epoch_n FROM instance i
     WHERE i.host_id = $1 AND i.isolation = $2 AND ${replaceable("$3::float8", "$4::int8")}
     ORDER BY i.id FOR UPDATE
   ), host AS (
     UPDATE host h SET version = h.version + 1 WHERE h.id = $1 AND EXISTS (SELECT FROM lost)
   ), agent AS (
     UPDATE host_agent a SET doc_version = a.doc_version + 1
     WHERE a.host_id = $1 AND a.isolation = $2 AND EXISTS (SELECT FROM lost)
     RETURNING a.host_id, a.isolation, a.doc_version
   ), buried AS (
     UPDATE assignment s SET tombstone = true, doc_version = g.doc_version
     FROM lost l, agent g
     WHERE s.instance_id = l.id AND s.era = l.era AND s.n = l.epoch_n AND NOT s.tombstone
   ), relayed AS (
     INSERT INTO outbox (host_id, isolation, version) SELECT host_id, isolation, doc_version FROM agent
   ), waiting AS (
     UPDATE instance i
     SET state = 'pending', host_id = NULL, reason = 'Replaced', rejections = '[]', version = i.version + 1,
         detail = 'its host lost contact for longer than its lease'
     FROM lost l WHERE i.id = l.id
     RETURNING i.id, i.project, i.workload_id, i.name, i.detail, i.traceparent
   ), told AS (
     INSERT INTO event_inbox (type, project, workload_id, instance_id, host_id, data, trace_id)
     SELECT 'instance.state', project, workload_id, id, $1,
       jsonb_build_object('name', name, 'state', 'pending', 'reason', 'Replaced', 'detail', detail),
       split_part(traceparent, '-', 2)
     FROM waiting
   )
   SELECT id FROM waiting`,
);

// Most lost hosts have nothing to replace, and stay lost for long: they are not worth a transaction each time.
const selectReplaceable = statement<AgentName>(
  "control_replaceable",
  `SELECT DISTINCT a.host_id AS "hostId", a.isolation
   FROM unnest($1::uuid[], $2::text[], $3::float8[]) AS a(host_id, isolation, quiet_ms)
   JOIN instance i ON i.host_id = a.host_id AND i.isolation = a.isolation
   WHERE ${replaceable("a.quiet_ms", "$4::int8")}`,
);

export interface LostAgent extends AgentName {
  /** for how long it was certainly given no lease, in milliseconds, at the moment of asking; 0 when it was heard again */
  readonly quietMs: () => number;
}

/**
 * Lets instances with `onLoss: replace` start elsewhere, when their own leases and `driftMs` (for clocks of different
 * rates) ran out: their shims have ended them. The old assignment gets a tombstone, the instance waits for a host.
 * Resolves to how many.
 *
 * The host may return at any moment, and may start the instance again once the leader has told it, with a lease, that
 * its document is the newest. That it is never told so of a document without the tombstone is carried by the lock on the
 * agent's row (`host_agent`), held from before `quietMs` is asked until the tombstone is committed:
 *
 *     leader hears a lost agent:  note it heard  ->  write its row `ready`  ->  read its document's head  ->  answer
 *     here:                       lock its row   ->  ask quietMs            ->  tombstone, commit
 *
 * Heard before the question: `quietMs` is 0, nothing is replaced. Heard after it: the writing waits for the lock, even of
 * a transaction whose connection was lost, so the head has the tombstone, and the answer says that the document is old.
 */
export const replaceLost = async (
  database: Database,
  term: number,
  { agents, driftMs }: { readonly agents: readonly LostAgent[]; readonly driftMs: number },
): Promise<number> => {
  if (agents.length === 0) return 0;
  const found = await database.rows(selectReplaceable, [
    agents.map((agent) => agent.hostId),
    agents.map((agent) => agent.isolation),
    agents.map((agent) => agent.quietMs()),
    driftMs,
  ]);
  let total = 0;
  for (const { hostId, isolation } of found) {
    const quietMs = agents.find((agent) => agent.hostId === hostId && agent.isolation === isolation)?.quietMs;
    if (quietMs === undefined) continue;
    total += await database.transaction(async (sql) => {
      await Promise.all([
        assertLeading(sql, term),
        sql.count(lockInstances, [hostId, isolation, quietMs(), driftMs]),
        sql.count(lockAgent, [hostId, isolation]),
      ]);
      return (await sql.rows(replaceStatement, [hostId, isolation, quietMs(), driftMs])).length;
    });
  }
  return total;
};
