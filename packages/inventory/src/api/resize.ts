import { type Capacity, type WorkloadSpec, fleetError } from "@bulkhead/contracts";
import { demandOf } from "@bulkhead/placement";
import { type Sql, statement } from "../database.ts";
import type { Change } from "./change.ts";
import { changeDocuments } from "../document-changes.ts";
import type { WorkloadShape } from "./replicas.ts";

const lockInstances = statement<{ id: string; spec: WorkloadSpec; hostId: string | null }>(
  "api_resize_lock",
  // Of the specification what its size is made of: all of 10,000 is more than this process should hold.
  `SELECT i.id, jsonb_build_object('isolation', i.spec -> 'isolation', 'resources', i.spec -> 'resources') AS spec,
     s.host_id AS "hostId"
   FROM instance i LEFT JOIN assignment s ON s.instance_id = i.id AND NOT s.tombstone
   WHERE i.workload_id = $1 AND NOT i.removing ORDER BY i.id FOR UPDATE OF i`,
);

const updateInstances = statement(
  "api_resize_update",
  `UPDATE instance SET generation = $2, spec = $3, version = version + 1 WHERE id = ANY($1::uuid[])`,
);

// The version rises, so that a placement planned on the earlier allocation is planned again.
const lockHosts = statement<{ id: string }>(
  "api_resize_hosts",
  `UPDATE host SET version = version + 1 WHERE id IN (SELECT id FROM host WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE)
   RETURNING id`,
);

interface HostLoad {
  readonly hostId: string;
  readonly hostName: string;
  readonly capacity: Capacity;
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

const hostLoads = statement<HostLoad>(
  "api_resize_loads",
  `SELECT h.id AS "hostId", h.name AS "hostName", a.facts->'capacity' AS capacity,
          coalesce(sum(s.cpu_millis), 0)::bigint AS "cpuMillis", coalesce(sum(s.memory_bytes), 0)::bigint AS "memoryBytes"
   FROM host h JOIN host_agent a ON a.host_id = h.id AND a.isolation = $2
   LEFT JOIN assignment s ON s.host_id = h.id AND s.gone_at IS NULL
   WHERE h.id = ANY($1::uuid[]) GROUP BY h.id, h.name, a.facts`,
);

interface Demand {
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

/** Refuses growth that a host cannot hold; the answer names the largest value that every host can. */
const assertFits = async (
  sql: Sql,
  workload: WorkloadShape,
  growing: ReadonlyMap<string, { growth: Demand; count: number }>,
): Promise<void> => {
  const hostIds = [...growing.keys()];
  await sql.count(lockHosts, [hostIds]);
  const loads = await sql.rows(hostLoads, [hostIds, workload.spec.isolation ?? "container"]);
  const wanted = workload.spec.resources;
  const feasible: Demand = { cpuMillis: wanted.cpuMillis, memoryBytes: wanted.memoryBytes };
  const refusing: { hostId: string; hostName: string; reason: string }[] = [];
  const nearest = loads.reduce((least, load): Demand => {
    const { growth, count } = growing.get(load.hostId) ?? { growth: { cpuMillis: 0, memoryBytes: 0 }, count: 1 };
    const overCpu = load.cpuMillis + growth.cpuMillis - load.capacity.cpuMillis;
    const overMemory = load.memoryBytes + growth.memoryBytes - load.capacity.memoryBytes;
    // What the host gives away already is not this request's fault: only growing further is refused.
    const cpuShort = growth.cpuMillis > 0 && overCpu > 0;
    const memoryShort = growth.memoryBytes > 0 && overMemory > 0;
    if (!cpuShort && !memoryShort) return least;
    const reasons = [
      ...(cpuShort ? [`${overCpu} cpuMillis too few`] : []),
      ...(memoryShort ? [`${overMemory} bytes of memory too few`] : []),
    ];
    refusing.push({ hostId: load.hostId, hostName: load.hostName, reason: reasons.join(", ") });
    return {
      cpuMillis: cpuShort ? Math.min(least.cpuMillis, wanted.cpuMillis - Math.ceil(overCpu / count)) : least.cpuMillis,
      memoryBytes: memoryShort
        ? Math.min(least.memoryBytes, wanted.memoryBytes - Math.ceil(overMemory / count))
        : least.memoryBytes,
    };
  }, feasible);
  if (refusing.length === 0) return;
  throw fleetError("LIMIT_INFEASIBLE", "The hosts of the running instances have not enough left for the new limits.", {
    fields: {
      nearestFeasible: {
        ...(nearest.cpuMillis < wanted.cpuMillis ? { cpuMillis: nearest.cpuMillis } : {}),
        ...(nearest.memoryBytes < wanted.memoryBytes ? { memoryBytes: nearest.memoryBytes } : {}),
      },
      hosts: refusing.map((host) => ({ ...host, hostId: host.hostId as never })),
    },
  });
};

/**
 * Gives a workload's new specification to its instances and, by a new document version, to their agents, which apply
 * limits without a restart. Resolves to the number of instances whose agents must act. Rejects LIMIT_INFEASIBLE.
 */
export const reshapeInstances = async (sql: Sql, change: Change, workload: WorkloadShape): Promise<number> => {
  const instances = await sql.rows(lockInstances, [workload.id]);
  if (instances.length === 0) return 0;
  const demand = demandOf(workload.spec);
  const growing = new Map<string, { growth: Demand; count: number }>();
  for (const { hostId, spec } of instances) {
    const held = demandOf(spec);
    const growth = {
      cpuMillis: demand.cpuMillis - held.cpuMillis,
      memoryBytes: demand.memoryBytes - held.memoryBytes,
    };
    if (hostId === null || (growth.cpuMillis <= 0 && growth.memoryBytes <= 0)) continue;
    const known = growing.get(hostId) ?? { growth: { cpuMillis: 0, memoryBytes: 0 }, count: 0 };
    growing.set(hostId, {
      growth: {
        cpuMillis: known.growth.cpuMillis + growth.cpuMillis,
        memoryBytes: known.growth.memoryBytes + growth.memoryBytes,
      },
      count: known.count + 1,
    });
  }
  if (growing.size > 0) await assertFits(sql, workload, growing);
  await sql.count(updateInstances, [instances.map(({ id }) => id), workload.generation, JSON.stringify(workload.spec)]);
  const patch = {
    generation: workload.generation,
    spec: workload.spec,
    ...(change.traceparent === null ? {} : { traceparent: change.traceparent }),
  };
  const told = await changeDocuments(sql, {
    instanceIds: instances.map(({ id }) => id),
    patch,
    // A machine's size never changes, and what it holds is more than its own: its monitor's is not known here.
    ...(demand.isolation === "vm" ? {} : { held: demand }),
  });
  return told.size;
};
