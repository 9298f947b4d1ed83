import { statement, type Sql } from "../database.ts";
import type { AgentName } from "./documents.ts";
import { assertLeading } from "./leadership.ts";

// `leaseMs` of a specification without one is the schema's default, 300 s.
const replaceStatement = statement<{ id: string }>(
  "control_replace",
  `WITH lost AS MATERIALIZED (
     SELECT i.id, i.era, i.epoch_n FROM instance i
     WHERE i.host_id = $1 AND i.isolation = $2 AND NOT i.removing AND i.desired <> 'stopped'
       AND i.state NOT IN ('pending', 'stopped', 'failed') AND i.spec ->> 'onLoss' = 'replace'
       AND coalesce((i.spec ->> 'leaseMs')::int8, 300000) + $4 <= $3
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

export interface LostAgent extends AgentName {
  /** for how long its lease was certainly not renewed, in milliseconds */
  readonly quietMs: number;
  /** allowance for clocks that run at different rates, in milliseconds */
  readonly driftMs: number;
}

/**
 * Lets instances with `onLoss: replace` start elsewhere, when their own leases ran out: their shims have ended them.
 * The old assignment gets a tombstone, the instance waits for a host. Resolves to how many.
 */
export const replaceLost = async (sql: Sql, term: number, agent: LostAgent): Promise<number> => {
  const [, replaced] = await Promise.all([
    assertLeading(sql, term),
    sql.rows(replaceStatement, [agent.hostId, agent.isolation, agent.quietMs, agent.driftMs]),
  ]);
  return replaced.length;
};
