import type { AssignedNetwork, Assignment, DesiredState } from "@bulkhead/contracts";
import type { Placement, Plan } from "@bulkhead/placement";
import { statement, type Database } from "../database.ts";
import { mountedShares, sharedNamespaces } from "../share-columns.ts";
import { fence, NotLeading } from "./leadership.ts";
import type { PendingInstance } from "./pending.ts";

/** Version of an agent's desired-state document. */
export interface DocumentVersion {
  readonly hostId: string;
  readonly isolation: string;
  readonly version: number;
}

export interface Commit {
  readonly term: number;
  readonly era: number;
  readonly plan: Plan;
  /** the instances the plan places, as they were read */
  readonly pending: ReadonlyMap<string, PendingInstance>;
}

export interface Committed {
  /** instances that have an assignment now; the others changed, or their host did, and wait for the next plan */
  readonly placed: ReadonlySet<string>;
  /** hosts that received something, with their new versions */
  readonly hosts: readonly { readonly id: string; readonly version: number }[];
  /** documents that changed: their agents are to be told */
  readonly documents: readonly DocumentVersion[];
}

interface CommitRow {
  readonly leading: boolean;
  readonly placed: string[];
  readonly hosts: { id: string; version: number }[];
  readonly documents: DocumentVersion[];
}

// One statement is one transaction and one round trip. Rows are locked in one order everywhere: instance, host,
// host_agent, assignment.
const commitStatement = statement<CommitRow>(
  "control_commit_plan",
  `WITH fence AS MATERIALIZED (${fence}),
   picked AS MATERIALIZED (
     SELECT i.id, w.host_id, w.n, w.document, w.cpu_millis, w.memory_bytes, w.cpu_ids
     FROM unnest($3::uuid[], $4::int[], $5::uuid[], $6::int[], $7::jsonb[], $8::int[], $9::int8[], $10::text[])
       AS w(instance_id, version, host_id, n, document, cpu_millis, memory_bytes, cpu_ids)
     JOIN instance i ON i.id = w.instance_id
     WHERE i.version = w.version AND i.state = 'pending' AND NOT i.removing AND EXISTS (SELECT FROM fence)
     ORDER BY i.id FOR UPDATE OF i
   ), hosts AS (
     UPDATE host h SET version = h.version + 1
     FROM unnest($11::uuid[], $12::int[]) AS v(id, version)
     WHERE h.id = v.id AND h.version = v.version AND h.id IN (SELECT host_id FROM picked)
     RETURNING h.id, h.version
   ), placed AS (
     -- Hands on what the later parts need: joining the arrays again would cost their square.
     UPDATE instance i
     SET state = 'assigned', host_id = p.host_id, era = $2, epoch_n = p.n, attempt = 0, restarts = 0,
         seen_generation = 0, reason = NULL, detail = NULL, exit = NULL, rejections = '[]', started_at = NULL,
         contract_held = NULL, machine = NULL, version = i.version + 1
     FROM picked p JOIN hosts h ON h.id = p.host_id
     WHERE i.id = p.id
     RETURNING i.id, i.host_id, i.isolation, i.project, i.workload_id, i.name, i.traceparent,
       p.n, p.document, p.cpu_millis, p.memory_bytes, p.cpu_ids
   ), agents AS (
     UPDATE host_agent a SET doc_version = a.doc_version + 1
     FROM (SELECT DISTINCT host_id, isolation FROM placed) t
     WHERE a.host_id = t.host_id AND a.isolation = t.isolation
     RETURNING a.host_id, a.isolation, a.doc_version
   ), written AS (
     INSERT INTO assignment
       (instance_id, era, n, host_id, isolation, document, doc_version, cpu_millis, memory_bytes, cpu_ids)
     SELECT p.id, $2, p.n, p.host_id, p.isolation, p.document, a.doc_version, p.cpu_millis, p.memory_bytes, p.cpu_ids::int[]
     FROM placed p JOIN agents a ON a.host_id = p.host_id AND a.isolation = p.isolation
   ), relayed AS (
     INSERT INTO outbox (host_id, isolation, version) SELECT host_id, isolation, doc_version FROM agents
   ), pinned AS (
     -- From now on the share lies where its first user goes.
     UPDATE share s SET host_id = w.host_id
     FROM (SELECT DISTINCT u.share_id, p.host_id FROM share_use u JOIN placed p ON p.id = u.instance_id) w
     WHERE s.id = w.share_id AND s.host_id IS DISTINCT FROM w.host_id
   ), told AS (
     INSERT INTO event_inbox (type, project, workload_id, instance_id, host_id, data, trace_id)
     SELECT 'instance.placed', project, workload_id, id, host_id,
       jsonb_build_object('name', name, 'epoch', jsonb_build_object('era', $2::int, 'n', n)),
       split_part(traceparent, '-', 2)
     FROM placed
   )
   SELECT EXISTS (SELECT FROM fence) AS leading,
     coalesce((SELECT array_agg(id::text) FROM placed), '{}') AS placed,
     coalesce((SELECT jsonb_agg(jsonb_build_object('id', id, 'version', version)) FROM hosts), '[]') AS hosts,
     coalesce((SELECT jsonb_agg(jsonb_build_object('hostId', host_id, 'isolation', isolation, 'version', doc_version))
       FROM agents), '[]') AS documents`,
);

/** Number of the next assignment: it starts again with each era, because eras are compared first. */
const nextNumber = (instance: PendingInstance, era: number): number =>
  instance.era === era ? (instance.epochN ?? 0) + 1 : 1;

/** What an assignment's document takes from its instance. */
export type AssignedInstance = Omit<PendingInstance, "desired" | "rejections" | "era" | "epochN" | "version"> & {
  readonly desired: DesiredState;
};

/** The assignment as its agent receives it. */
export const assignmentOf = (
  instance: AssignedInstance,
  epoch: { readonly era: number; readonly n: number },
  cpuIds: readonly number[],
  network?: AssignedNetwork,
): Assignment => {
  const mounted = mountedShares(instance.shares);
  const namespaces = sharedNamespaces(instance.shares);
  return {
    instanceId: instance.id,
    workloadId: instance.workloadId,
    workload: instance.workload,
    project: instance.project,
    name: instance.name,
    isolation: instance.isolation,
    generation: instance.generation,
    epoch,
    desired: instance.desired,
    restartRequest: instance.restartRequest,
    imageDigest: instance.imageDigest,
    spec: instance.spec,
    cpuIds: [...cpuIds],
    ...(mounted.length === 0 ? {} : { shares: mounted }),
    ...(namespaces === undefined ? {} : { namespaces }),
    ...(network === undefined ? {} : { network }),
    ...(instance.traceparent === null ? {} : { traceparent: instance.traceparent }),
  } as Assignment;
};

/** Inside its network an instance is known by its own name and by its workload's. */
const networkOf = ({ name }: PendingInstance, { lodging, ports }: Placement): AssignedNetwork | undefined =>
  lodging === undefined
    ? undefined
    : { ...lodging, ports: [...(ports ?? [])], names: [name, name.replace(/-[0-9]+$/, "")] };

/**
 * Writes a plan: assignments, documents' versions, outbox and events, in one transaction. Only what still holds is
 * written: the term is in force, a host has the version the plan read, an instance is as it was read. Rejects NotLeading.
 */
export const commitPlan = async (database: Database, { term, era, plan, pending }: Commit): Promise<Committed> => {
  const rows = plan.placements.map((placement: Placement) => {
    const instance = pending.get(placement.instanceId);
    if (instance === undefined) throw new RangeError(`the plan places ${placement.instanceId}, which was not read`);
    const n = nextNumber(instance, era);
    const document = assignmentOf(instance, { era, n }, placement.cpuIds, networkOf(instance, placement));
    return { placement, instance, n, document };
  });
  const [row] = await database.repeat(() =>
    database.rows(commitStatement, [
      term,
      era,
      rows.map(({ instance }) => instance.id),
      rows.map(({ instance }) => instance.version),
      rows.map(({ placement }) => placement.hostId),
      rows.map(({ n }) => n),
      rows.map(({ document }) => JSON.stringify(document)),
      rows.map(({ placement }) => placement.cpuMillis),
      rows.map(({ placement }) => placement.memoryBytes),
      rows.map(({ placement }) => `{${placement.cpuIds.join(",")}}`),
      [...plan.readVersions.keys()],
      [...plan.readVersions.values()],
    ]),
  );
  if (row === undefined || !row.leading) throw new NotLeading(term);
  return { placed: new Set(row.placed), hosts: row.hosts, documents: row.documents };
};
