import type { FleetAgent, FleetHost, HeldPort } from "@bulkhead/placement";
import { statement, type Sql } from "../database.ts";
import { promisedDiskBytes } from "../disk-promises.ts";

interface HostRow extends Omit<FleetHost, "held" | "agents"> {
  readonly agents: readonly FleetAgent[];
  readonly cpuMillis: number;
  readonly memoryBytes: number;
  readonly instances: number;
  readonly cpuIds: readonly number[];
  readonly ports: readonly HeldPort[];
  readonly diskBytes: number;
}

const selectHosts = statement<HostRow>(
  "control_fleet",
  `SELECT h.id, h.name, h.version, h.cordoned, h.labels,
     coalesce(a.agents, '[]') AS agents,
     coalesce(s.cpu_millis, 0)::int8 AS "cpuMillis",
     coalesce(s.memory_bytes, 0)::int8 AS "memoryBytes",
     coalesce(s.instances, 0)::int AS instances,
     coalesce(s.cpu_ids, '{}') AS "cpuIds", coalesce(p.ports, '[]') AS ports,
     ${promisedDiskBytes("h.id")}::float8 AS "diskBytes"
   FROM host h
   LEFT JOIN LATERAL (
     SELECT jsonb_agg(jsonb_build_object(
       'isolation', a.isolation, 'state', a.state, 'capacity', a.facts -> 'capacity',
       'enforceable', a.facts -> 'enforceable', 'mountAllowList', a.facts -> 'mountAllowList',
       'engines', a.facts #> '{machines,engines}', 'diskFreeBytes', a.facts #> '{disk,freeBytes}',
       'hostNetwork', coalesce(a.facts -> 'hostNetwork', 'false'), 'foreign', a.foreign_cluster_id IS NOT NULL)) AS agents
     FROM host_agent a WHERE a.host_id = h.id
   ) a ON true
   LEFT JOIN LATERAL (
     SELECT sum(s.cpu_millis) AS cpu_millis, sum(s.memory_bytes) AS memory_bytes, count(*) AS instances,
       (SELECT array_agg(c.id) FROM assignment d, unnest(d.cpu_ids) AS c(id) WHERE d.host_id = h.id AND d.gone_at IS NULL)
         AS cpu_ids
     FROM assignment s WHERE s.host_id = h.id AND s.gone_at IS NULL
   ) s ON true
   LEFT JOIN LATERAL (
     SELECT jsonb_agg(port) AS ports
     FROM assignment s, jsonb_array_elements(s.document #> '{network,ports}') AS port
     WHERE s.host_id = h.id AND s.gone_at IS NULL AND s.document ? 'network'
   ) p ON true
   WHERE $1::uuid[] IS NULL OR h.id = ANY($1)`,
);

const toHost = ({ cpuMillis, memoryBytes, instances, cpuIds, ports, diskBytes, ...host }: HostRow): FleetHost => ({
  ...host,
  held: {
    cpuMillis,
    memoryBytes,
    instances,
    cpuIds,
    ...(diskBytes === 0 ? {} : { diskBytes }),
    ...(ports.length === 0 ? {} : { ports }),
  },
});

/** Hosts as placement sees them: all, or those with the given ids. */
export const readHosts = async (sql: Sql, ids?: readonly string[]): Promise<FleetHost[]> =>
  (await sql.rows(selectHosts, [ids ?? null])).map(toHost);

export interface HostVersion {
  readonly id: string;
  readonly version: number;
}

const selectVersions = statement<HostVersion>("control_fleet_versions", `SELECT id, version FROM host`);

/** Versions of all hosts, to find out which ones a snapshot has outdated. */
export const readHostVersions = (sql: Sql): Promise<HostVersion[]> => sql.rows(selectVersions);
