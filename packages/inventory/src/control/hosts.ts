import type { Heartbeat, HostState, Isolation, JoinHost } from "@bulkhead/contracts";
import { fleetError } from "@bulkhead/contracts";
import { statement, type Database, type Sql } from "../database.ts";
import { isUniqueViolation } from "../failure.ts";
import { assertLeading } from "./leadership.ts";

const upsertHost = statement<{ added: boolean }>(
  "control_host_join",
  `INSERT INTO host AS h (id, name, labels) VALUES ($1, $2, $3)
   ON CONFLICT (id) DO UPDATE SET name = excluded.name, labels = h.labels || excluded.labels, version = h.version + 1
   RETURNING xmax = 0 AS added`,
);

const upsertAgent = statement<{ added: boolean }>(
  "control_host_join_agent",
  `INSERT INTO host_agent AS a (host_id, isolation, public_key, facts, last_seen_at) VALUES ($1, $2, $3, $4, now())
   ON CONFLICT (host_id, isolation) DO UPDATE
     SET public_key = excluded.public_key, facts = excluded.facts, last_seen_at = now(), foreign_cluster_id = NULL
   RETURNING xmax = 0 AS added`,
);

const tellJoined = statement(
  "control_host_joined",
  `INSERT INTO event_inbox (type, host_id, data)
   VALUES ('host.joined', $1, jsonb_build_object('name', $2::text, 'isolation', $3::text))`,
);

/** Writes a host and one of its agents, new or again. Rejects NAME_TAKEN when another host has the name. */
export const joinHost = (database: Database, join: JoinHost): Promise<void> =>
  database.transaction(async (sql) => {
    try {
      await sql.rows(upsertHost, [join.hostId, join.name, JSON.stringify(join.labels ?? {})]);
    } catch (error) {
      if (!isUniqueViolation(error)) throw error;
      throw fleetError("NAME_TAKEN", `Another host is named ${join.name}. Give this one another name.`, {
        cause: error,
      });
    }
    const [agent] = await sql.rows(upsertAgent, [
      join.hostId,
      join.isolation,
      join.publicKey,
      JSON.stringify(join.facts),
    ]);
    if (agent?.added === true) await sql.count(tellJoined, [join.hostId, join.name, join.isolation]);
  });

/** What is known of an agent when a scheduler begins to lead. */
export interface KnownAgent {
  readonly hostId: string;
  readonly hostName: string;
  readonly isolation: Isolation;
  readonly state: HostState;
  readonly foreignClusterId: string | null;
}

const selectAgents = statement<KnownAgent>(
  "control_agents",
  `SELECT a.host_id AS "hostId", h.name AS "hostName", a.isolation, a.state, a.foreign_cluster_id AS "foreignClusterId"
   FROM host_agent a JOIN host h ON h.id = a.host_id
   WHERE $1::uuid IS NULL OR a.host_id = $1`,
);

/** Every agent that ever joined, or those of one host. */
export const readAgents = (sql: Sql, hostId?: string): Promise<KnownAgent[]> =>
  sql.rows(selectAgents, [hostId ?? null]);

/** What heartbeats (or their absence) say about an agent; absent members stay as they are. */
export interface AgentNews {
  readonly hostId: string;
  readonly isolation: string;
  readonly state: HostState;
  /** how long ago it was heard, in milliseconds; null when it was not heard at all */
  readonly heardMsAgo: number | null;
  readonly heartbeat: Pick<Heartbeat, "bootId" | "facts" | "unknown"> | null;
  readonly reachedVersion: number | null;
  readonly foreignClusterId: string | null;
}

// Facts and state are read by placement: a change of either raises the host's version, seeing it again does not.
const writeNews = statement(
  "control_agents_write",
  `WITH news AS (
     SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::float8[], $5::text[], $6::jsonb[], $7::jsonb[], $8::int8[],
       $9::uuid[])
       AS n(host_id, isolation, state, heard_ms_ago, boot_id, facts, unknown, reached, foreign_cluster)
   ), before AS MATERIALIZED (
     SELECT a.host_id, a.isolation, a.state,
       a.state <> n.state OR a.foreign_cluster_id IS DISTINCT FROM n.foreign_cluster
         OR (n.facts IS NOT NULL AND a.facts <> n.facts) AS matters
     FROM host_agent a JOIN news n ON n.host_id = a.host_id AND n.isolation = a.isolation
   ), hosts AS (
     UPDATE host h SET version = h.version + 1 WHERE h.id IN (SELECT host_id FROM before WHERE matters)
   ), written AS (
     UPDATE host_agent a
     SET state = n.state,
         last_seen_at = coalesce(greatest(a.last_seen_at, clock_timestamp() - n.heard_ms_ago * interval '1 ms'), a.last_seen_at),
         boot_id = coalesce(n.boot_id, a.boot_id),
         facts = coalesce(n.facts, a.facts),
         unknown_instances = coalesce(n.unknown, a.unknown_instances),
         reached_version = greatest(a.reached_version, coalesce(n.reached, 0)),
         foreign_cluster_id = n.foreign_cluster
     FROM news n WHERE n.host_id = a.host_id AND n.isolation = a.isolation
     RETURNING a.host_id, a.isolation, a.state
   )
   INSERT INTO event_inbox (type, host_id, data)
   SELECT 'host.state', w.host_id, jsonb_build_object('isolation', w.isolation, 'state', w.state, 'before', b.state)
   FROM written w JOIN before b ON b.host_id = w.host_id AND b.isolation = w.isolation WHERE b.state <> w.state`,
);

// Only those the control plane has no row for; what it knows is being placed, adopted or ended.
const withoutKnown = statement<{ id: string }>(
  "control_instances_known",
  `SELECT id FROM instance WHERE id = ANY($1::uuid[])`,
);

/** Writes what changed about agents; a state that differs from the row's is told as an event. */
export const recordAgents = async (sql: Sql, term: number, news: readonly AgentNews[]): Promise<void> => {
  const unknownIds = news.flatMap((agent) => agent.heartbeat?.unknown.map((run) => run.instanceId) ?? []);
  const [, known] = await Promise.all([
    assertLeading(sql, term),
    unknownIds.length === 0 ? [] : sql.rows(withoutKnown, [unknownIds]),
  ]);
  const ours = new Set(known.map((row) => row.id));
  const unknownOf = ({ heartbeat }: AgentNews): string | null =>
    heartbeat === null ? null : JSON.stringify(heartbeat.unknown.filter((run) => !ours.has(run.instanceId)));
  await sql.count(writeNews, [
    news.map((agent) => agent.hostId),
    news.map((agent) => agent.isolation),
    news.map((agent) => agent.state),
    news.map((agent) => agent.heardMsAgo),
    news.map((agent) => agent.heartbeat?.bootId ?? null),
    news.map((agent) => (agent.heartbeat === null ? null : JSON.stringify(agent.heartbeat.facts))),
    news.map(unknownOf),
    news.map((agent) => agent.reachedVersion),
    news.map((agent) => agent.foreignClusterId),
  ]);
};
