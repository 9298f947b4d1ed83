import { compareEpochs, type Epoch, type HostEngine } from "@bulkhead/contracts";
import { costOf, demandOf, engineFor } from "@bulkhead/placement";
import { statement, type Sql } from "../database.ts";
import { buryDocuments } from "../document-changes.ts";
import { assignmentOf, type AssignedInstance } from "./commit-plan.ts";
import type { AgentName } from "./documents.ts";
import { sharesColumn } from "../share-columns.ts";
import { assertLeading } from "./leadership.ts";

/** A run that an agent found and no document explains. */
export interface UnknownRun {
  readonly instanceId: string;
  readonly epoch: Epoch;
}

interface KnownRow extends AssignedInstance {
  readonly era: number | null;
  readonly epochN: number | null;
  readonly removing: boolean;
  readonly hostId: string | null;
  /** the era in force */
  readonly presentEra: number;
  /** the agent's document has a row for exactly this run, so it need only fetch it */
  readonly documented: boolean;
}

const lockKnown = statement<KnownRow>(
  "control_adopt_known",
  `SELECT i.id, i.project, i.workload_id AS "workloadId",
     (SELECT w.name FROM workload w WHERE w.id = i.workload_id) AS workload, i.name, i.isolation, i.generation, i.spec,
     i.image_digest AS "imageDigest", i.desired, i.restart_request AS "restartRequest", i.era, i.epoch_n AS "epochN",
     i.traceparent, ${sharesColumn}, i.removing, i.host_id AS "hostId",
     (SELECT c.era FROM cluster c) AS "presentEra",
     EXISTS (SELECT FROM assignment s WHERE s.instance_id = i.id AND s.era = r.era AND s.n = r.n) AS documented
   FROM instance i JOIN unnest($1::uuid[], $2::int[], $3::int[]) AS r(id, era, n) ON r.id = i.id
   WHERE i.isolation = $4 ORDER BY i.id FOR UPDATE OF i`,
);

// The host first: placement must see what the adopted ones hold.
const bumpDocument = statement<{ version: number; engines: HostEngine[] | null }>(
  "control_adopt_version",
  `WITH host AS (UPDATE host SET version = version + 1 WHERE id = $1),
   agent AS (
     UPDATE host_agent SET doc_version = doc_version + 1 WHERE host_id = $1 AND isolation = $2
     RETURNING host_id, isolation, doc_version, facts #> '{machines,engines}' AS engines
   ), relayed AS (
     INSERT INTO outbox (host_id, isolation, version) SELECT host_id, isolation, doc_version FROM agent
   )
   SELECT doc_version AS version, engines FROM agent`,
);

const insertAssignments = statement(
  "control_adopt_assignments",
  `INSERT INTO assignment
     (instance_id, era, n, host_id, isolation, document, doc_version, tombstone, cpu_millis, memory_bytes)
   SELECT a.instance_id, a.era, a.n, $1, $2, a.document, $3, a.tombstone, a.cpu_millis, a.memory_bytes
   FROM unnest($4::uuid[], $5::int[], $6::int[], $7::jsonb[], $8::bool[], $9::int[], $10::int8[])
     AS a(instance_id, era, n, document, tombstone, cpu_millis, memory_bytes)`,
);

const takeInstances = statement(
  "control_adopt_instances",
  `WITH taken AS (
     UPDATE instance i
     SET state = 'running', host_id = $1, era = a.era, epoch_n = a.n, reason = NULL, detail = NULL, rejections = '[]',
         version = i.version + 1
     FROM unnest($2::uuid[], $3::int[], $4::int[]) AS a(id, era, n) WHERE i.id = a.id
     RETURNING i.id, i.project, i.workload_id, i.name, i.era, i.epoch_n
   )
   INSERT INTO event_inbox (type, project, workload_id, instance_id, host_id, data)
   SELECT 'instance.placed', project, workload_id, id, $1,
     jsonb_build_object('name', name, 'adopted', true, 'epoch', jsonb_build_object('era', era, 'n', epoch_n))
   FROM taken`,
);

export interface Adoption {
  /** now assigned where they were found */
  readonly adopted: number;
  /** older than an assignment in force, or of an instance that is being removed: ordered to end */
  readonly ended: number;
}

/** One run of each instance: an assignment has one, and an older run that is left is named again. */
const newestOf = (runs: readonly UnknownRun[]): ReadonlyMap<string, UnknownRun> => {
  const newest = new Map<string, UnknownRun>();
  for (const run of runs) {
    const known = newest.get(run.instanceId);
    if (known === undefined || compareEpochs(known.epoch, run.epoch) < 0) newest.set(run.instanceId, run);
  }
  return newest;
};

/**
 * Makes the database agree with runs that an agent found although no document explains them, which happens when the
 * database was restored. A run of an instance it still knows is adopted where it is, with the epoch it has; a run that
 * an assignment of a later epoch has replaced gets a tombstone. Runs of unknown instances are left alone, and those that
 * claim an epoch of this era which was never given while the instance has another host.
 */
export const adoptRuns = async (
  sql: Sql,
  {
    term,
    agent,
    runs: all,
  }: { readonly term: number; readonly agent: AgentName; readonly runs: readonly UnknownRun[] },
): Promise<Adoption> => {
  const newest = newestOf(all);
  const runs = [...newest.values()];
  const [, rows] = await Promise.all([
    assertLeading(sql, term),
    sql.rows(lockKnown, [
      runs.map((run) => run.instanceId),
      runs.map((run) => run.epoch.era),
      runs.map((run) => run.epoch.n),
      agent.isolation,
    ]),
  ]);
  const found = rows.flatMap((row) => {
    const run = newest.get(row.id);
    if (run === undefined || row.documented) return [];
    const replaced =
      row.era !== null && row.epochN !== null && compareEpochs(run.epoch, { era: row.era, n: row.epochN }) <= 0;
    // The database itself gave every epoch of this era: only after a restore can a host know of a later one.
    const elsewhere = row.hostId !== null && row.hostId !== agent.hostId;
    if (!replaced && elsewhere && run.epoch.era >= row.presentEra) return [];
    return [{ row, epoch: run.epoch, tombstone: replaced || row.removing, adopt: !replaced }];
  });
  if (found.length === 0) return { adopted: 0, ended: 0 };
  const taken = found.filter((run) => run.adopt);
  const [, [document]] = await Promise.all([
    // What the database thought of these instances is older than what runs.
    buryDocuments(
      sql,
      taken.map(({ row }) => row.id),
      null,
    ),
    sql.rows(bumpDocument, [agent.hostId, agent.isolation]),
  ]);
  if (document === undefined) return { adopted: 0, ended: 0 };
  const costs = found.map(({ row }) => {
    const demand = demandOf(row.spec);
    return costOf(demand, engineFor(document, demand));
  });
  await Promise.all([
    sql.count(insertAssignments, [
      agent.hostId,
      agent.isolation,
      document.version,
      found.map(({ row }) => row.id),
      found.map(({ epoch }) => epoch.era),
      found.map(({ epoch }) => epoch.n),
      found.map(({ row, epoch }) => JSON.stringify(assignmentOf(row, epoch, []))),
      found.map(({ tombstone }) => tombstone),
      costs.map(({ cpuMillis }) => cpuMillis),
      costs.map(({ memoryBytes }) => memoryBytes),
    ]),
    taken.length === 0
      ? 0
      : sql.count(takeInstances, [
          agent.hostId,
          taken.map(({ row }) => row.id),
          taken.map(({ epoch }) => epoch.era),
          taken.map(({ epoch }) => epoch.n),
        ]),
  ]);
  const ended = found.filter((run) => run.tombstone).length;
  return { adopted: found.length - ended, ended };
};
