import {
  type Capacity,
  type Host,
  type HostFacts,
  type HostState,
  type Isolation,
  fleetError,
} from "@bulkhead/contracts";
import { type Sql, statement } from "../database.ts";
import { type Change, audit } from "./change.ts";
import { type Page, type PageRequest, afterId, isUuid, pageOf } from "./page.ts";

interface AgentRow {
  readonly isolation: Isolation;
  readonly state: HostState;
  readonly lastSeenAt: string | null;
  readonly facts: HostFacts;
  readonly unknownInstances: Omit<Host["unknownInstances"][number], "isolation">[];
  readonly foreignClusterId: string | null;
}

interface HostRow {
  readonly id: string;
  readonly name: string;
  readonly labels: Record<string, string>;
  readonly cordoned: boolean;
  readonly version: number;
  readonly agents: AgentRow[];
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly instances: number;
}

const selectText = `
  SELECT h.id, h.name, h.labels, h.cordoned, h.version, s."cpuMillis", s."memoryBytes", s.instances,
    (SELECT coalesce(jsonb_agg(jsonb_build_object(
        'isolation', a.isolation, 'state', a.state, 'facts', a.facts, 'unknownInstances', a.unknown_instances,
        'foreignClusterId', a.foreign_cluster_id,
        'lastSeenAt', to_char(a.last_seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
      ) ORDER BY a.isolation), '[]') FROM host_agent a WHERE a.host_id = h.id) AS agents
  FROM host h CROSS JOIN LATERAL (
    SELECT coalesce(sum(cpu_millis), 0)::bigint AS "cpuMillis", coalesce(sum(memory_bytes), 0)::bigint AS "memoryBytes",
           count(*)::int AS instances
    FROM assignment WHERE host_id = h.id AND gone_at IS NULL
  ) s`;

const worse: readonly HostState[] = ["ready", "suspect", "unknown"];

/** A host is as well as its worst agent; without any it is unknown. */
const stateOf = (agents: readonly AgentRow[]): HostState =>
  agents.reduce<HostState>(
    (state, agent) => (worse.indexOf(agent.state) > worse.indexOf(state) ? agent.state : state),
    agents.length === 0 ? "unknown" : "ready",
  );

const toHost = (row: HostRow): Host => ({
  id: row.id as Host["id"],
  name: row.name,
  state: stateOf(row.agents),
  labels: row.labels,
  cordoned: row.cordoned,
  agents: row.agents.map(({ isolation, state, lastSeenAt, facts }) => ({ isolation, state, lastSeenAt, facts })),
  allocated: { cpuMillis: row.cpuMillis, memoryBytes: row.memoryBytes, instances: row.instances },
  unknownInstances: row.agents.flatMap(({ isolation, unknownInstances }) =>
    unknownInstances.map(({ instanceId, name }) => ({ instanceId, name, isolation })),
  ),
  foreignClusterId: (row.agents.find((agent) => agent.foreignClusterId !== null)?.foreignClusterId ??
    null) as Host["foreignClusterId"],
  version: row.version,
});

const selectOne = statement<HostRow>("api_host", `${selectText} WHERE h.id = $1::uuid OR h.name = $2`);

const idOrName = (wanted: string): [string | null, string | null] => (isUuid(wanted) ? [wanted, null] : [null, wanted]);

/** By id or name. Rejects NOT_FOUND. */
export const getHost = async (sql: Sql, wanted: string): Promise<Host> => {
  const [row] = await sql.rows(selectOne, idOrName(wanted));
  if (row === undefined) throw fleetError("NOT_FOUND", `There is no host ${wanted}.`);
  return toHost(row);
};

const selectPage = statement<HostRow>("api_host_page", `${selectText} WHERE h.id > $1 ORDER BY h.id LIMIT $2`);

export const listHosts = async (sql: Sql, page: PageRequest): Promise<Page<Host>> => {
  const rows = await sql.rows(selectPage, [afterId(page.cursor), page.limit + 1]);
  return pageOf(rows, page.limit, { item: toHost, key: (row) => row.id });
};

const lockHost = statement<{ id: string; name: string; version: number; labels: Record<string, string> }>(
  "api_host_lock",
  `SELECT id, name, version, labels FROM host WHERE id = $1::uuid OR name = $2 FOR UPDATE`,
);
const updateHost = statement(
  "api_host_update",
  `UPDATE host SET cordoned = coalesce($2, cordoned), labels = $3, version = version + 1 WHERE id = $1`,
);

export interface HostUpdate {
  readonly host: string;
  readonly ifVersion?: number;
  readonly cordoned?: boolean;
  /** merge patch: null removes a label, null for the whole removes all */
  readonly labels?: Readonly<Record<string, string | null>> | null;
}

const mergeLabels = (
  labels: Readonly<Record<string, string>>,
  patch: HostUpdate["labels"],
): Readonly<Record<string, string>> => {
  if (patch === undefined) return labels;
  if (patch === null) return {};
  const merged = Object.entries({ ...labels, ...patch });
  return Object.fromEntries(merged.filter((entry): entry is [string, string] => entry[1] !== null));
};

/** Changes what placement reads of a host. Rejects NOT_FOUND, VERSION_MISMATCH. */
export const patchHost = async (sql: Sql, change: Pick<Change, "tokenId">, update: HostUpdate): Promise<Host> => {
  const [host] = await sql.rows(lockHost, idOrName(update.host));
  if (host === undefined) throw fleetError("NOT_FOUND", `There is no host ${update.host}.`);
  if (update.ifVersion !== undefined && update.ifVersion !== host.version) {
    throw fleetError("VERSION_MISMATCH", `Host ${host.name} is at version ${host.version}, not ${update.ifVersion}.`);
  }
  const labels = mergeLabels(host.labels, update.labels);
  await sql.count(updateHost, [host.id, update.cordoned ?? null, JSON.stringify(labels)]);
  const data = { name: host.name, cordoned: update.cordoned, labels: update.labels };
  await audit(sql, { ...change, project: null }, { verb: "host.update", target: host.id, data });
  return getHost(sql, host.id);
};

const selectAgentKey = statement<{ publicKey: string }>(
  "api_host_agent_key",
  `SELECT public_key AS "publicKey" FROM host_agent WHERE host_id = $1 AND isolation = $2`,
);

/** Public key with which this agent joined before, if it did. */
export const agentPublicKey = async (sql: Sql, hostId: string, isolation: string): Promise<string | undefined> =>
  (await sql.rows(selectAgentKey, [hostId, isolation]))[0]?.publicKey;

const selectLargest = statement<{ cpuMillis: number | null; memoryBytes: number | null }>(
  "api_host_largest",
  `SELECT max((facts->'capacity'->>'cpuMillis')::bigint - coalesce((e->>'emulatorMillis')::bigint, 0)) AS "cpuMillis",
          max(div(((facts->'capacity'->>'memoryBytes')::numeric - coalesce((e->>'overheadBytes')::numeric, 0)) * 1048576,
            1048576 + coalesce((e->>'overheadBytesPerMib')::numeric, 0)))::bigint AS "memoryBytes"
   FROM host_agent LEFT JOIN LATERAL jsonb_array_elements(facts #> '{machines,engines}') AS e ON isolation = 'vm'
   WHERE isolation = $1`,
);

/**
 * Most CPU and most memory that any host of this kind has in all, for a machine without what its engine's monitor uses
 * itself; undefined without such a host.
 */
export const largestCapacity = async (
  sql: Sql,
  isolation: Isolation,
): Promise<Pick<Capacity, "cpuMillis" | "memoryBytes"> | undefined> => {
  const [row] = await sql.rows(selectLargest, [isolation]);
  return row === undefined || row.cpuMillis === null || row.memoryBytes === null
    ? undefined
    : { cpuMillis: row.cpuMillis, memoryBytes: row.memoryBytes };
};
